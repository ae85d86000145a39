package mapping

import (
	"errors"
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key  string // its path in the configuration: sources[0].fields.waybill_id
	Text string // what is wrong and what to do, in one line
	// Warning: it works, but perhaps not as it was meant.
	Warning bool
}

// Problems is all that is wrong, so that one run tells everything.
type Problems []Problem

// Err joins what makes a configuration unusable; nil if nothing does.
func (ps Problems) Err() error {
	var errs []error
	for _, p := range ps {
		if !p.Warning {
			errs = append(errs, errors.New(p.Key+": "+p.Text))
		}
	}
	return errors.Join(errs...)
}

func (ps *Problems) bad(key, format string, args ...any) {
	*ps = append(*ps, Problem{Key: key, Text: strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")})
}

func (ps *Problems) warn(key, format string, args ...any) {
	*ps = append(*ps, Problem{Key: key, Text: fmt.Sprintf(format, args...), Warning: true})
}
