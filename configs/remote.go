package configs

import (
	"os"
	"path/filepath"
	"reflect"

	"scanrelay/configs/textfile"
	"scanrelay/uplink/syncapi/directive"
)

// hasRemote reports whether a data_dir has something of the centre's.
func hasRemote(dataDir string) bool {
	_, err := os.Stat(filepath.Join(dataDir, directive.File))
	return err == nil
}

// remote adds what the centre gave: what is given, or what data_dir has. Sources and
// stations are as those of sources.d; keys of notify and log.level come before those of
// the gateway's own configuration. It is JSON, which is YAML as well. It reports
// whether that has sources; before them others had, or the default is not meant.
func (c *checker) remote(a *Agent, given [][]byte, before bool) bool {
	file := filepath.Join(a.DataDir, directive.File)
	var data []byte
	switch {
	case len(given) > 0:
		data = given[0]
	case !hasRemote(a.DataDir):
		return false
	default:
		var err error
		if data, err = textfile.Read(file, maxFile); err != nil {
			c.fail(place{file: file}, "", "cannot be read: %s", why(err))
			return false
		}
	}
	d := newDecoder(file)
	log := struct {
		Level string `yaml:"level"`
	}{a.Log.Level}
	var f further
	parts := map[string]any{"sources": &f.Sources, "stations": &f.Stations, "notify": &a.Notify, "log": &log}
	if body, ok := d.parse(data); ok && body != nil {
		for _, p := range d.pairs(body, "", 0) {
			into, known := parts[p.key]
			if !known {
				d.fail(p.at, p.key, "is not the centre's to give")
				continue
			}
			d.places[p.key] = p.at
			d.decode(p.value, reflect.ValueOf(into).Elem(), p.key, 1)
		}
	}
	a.Log.Level = log.Level
	c.found = append(c.found, d.found...)
	if !before && len(f.Sources) > 0 {
		a.Sources = nil
	}
	c.join(a, &f, d)
	for _, key := range []string{"notify", "log"} {
		c.adopt(d, key, func(key string) string { return key }, 0)
	}
	return len(f.Sources) > 0
}
