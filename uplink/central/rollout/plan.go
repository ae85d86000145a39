package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // a window is in the depot's local time, also where the machine knows no zones

	"scanrelay/agent/scan"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/wait"
)

// Plan is how a release is to go out.
type Plan struct {
	Version  string            `json:"version"`
	Rings    []float64         `json:"rings"` // shares of the fleet, rising
	Canaries []scan.DepotID    `json:"canaries,omitempty"`
	Soak     int64             `json:"soak_seconds"`
	HaltAt   float64           `json:"halt_at"` // share of those that were told; one at least
	Labels   map[string]string `json:"labels,omitempty"`
	Window   string            `json:"window,omitempty"` // as 01:00-05:00; "": any time
}

// Bounds of a plan.
const (
	maxRings    = 10
	maxCanaries = 100
	maxSoak     = 30 * 24 * time.Hour
	maxLabels   = 16
	maxText     = 100
)

// Check tells what is wrong with a plan.
func (p *Plan) Check() error {
	switch {
	case len(p.Version) > maxText || trust.Compare(p.Version, "") <= 0:
		return fmt.Errorf("version %.40q is none such as 1.2.3", p.Version)
	case len(p.Rings) == 0 || len(p.Rings) > maxRings:
		return fmt.Errorf("rings must be 1 to %d shares of the fleet", maxRings)
	case len(p.Canaries) > maxCanaries:
		return fmt.Errorf("at most %d canaries may be named", maxCanaries)
	case p.Soak < 60 || p.Soak > int64(maxSoak/time.Second):
		return fmt.Errorf("soak must lie between a minute and 30 days")
	case !(p.HaltAt >= 0 && p.HaltAt < 1):
		return fmt.Errorf("halt-at must be a share below 100%%")
	case len(p.Labels) > maxLabels:
		return fmt.Errorf("at most %d labels may be named", maxLabels)
	}
	last := 0.0
	for _, share := range p.Rings {
		if !(share > last && share <= 1) {
			return fmt.Errorf("rings must be shares that rise up to 100%%")
		}
		last = share
	}
	for _, id := range p.Canaries {
		if !id.Valid() {
			return fmt.Errorf("canary %.70q is no depot id", string(id))
		}
	}
	for k, v := range p.Labels {
		if k == "" || len(k) > maxText || len(v) > maxText {
			return fmt.Errorf("a label is key=value, of at most %d bytes each", maxText)
		}
	}
	_, err := p.window()
	return err
}

func (p *Plan) window() (wait.Window, error) {
	w, err := wait.ParseWindow(p.Window)
	if err != nil {
		err = fmt.Errorf("window %.20q must be as 01:00-05:00", p.Window)
	}
	return w, err
}

// within reports whether the time of a place lies in the window.
func (p *Plan) within(at time.Time) bool {
	w, err := p.window()
	return err == nil && w.At(at)
}

// nowhere is the ring of a depot that the rollout leaves out.
const nowhere = -1

// ring is which one a depot is in: 0 of the canaries, then the shares.
func (p *Plan) ring(d *Depot) int {
	if slices.Contains(p.Canaries, d.ID) { // by name, whatever its labels
		return 0
	}
	for k, v := range p.Labels {
		if d.Labels[k] != v {
			return nowhere
		}
	}
	sum := sha256.Sum256([]byte(string(d.ID) + "\x00" + p.Version))
	at := float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
	for i, share := range p.Rings {
		if at < share {
			return i + 1
		}
	}
	return nowhere
}

// first is the ring that a rollout begins with.
func (p *Plan) first() int {
	if len(p.Canaries) > 0 {
		return 0
	}
	return 1
}
