package configs_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"scanrelay/configs"
)

// TestReadmeNamesEveryKey: README.md's tables list the keys that there are.
func TestReadmeNamesEveryKey(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(readme), "\n## Agent\n")
	agent, central, _ := strings.Cut(tables, "\n## Central\n")
	sameKeys(t, "agent", documented(agent), keys(reflect.TypeFor[configs.Agent](), ""))
	sameKeys(t, "central", documented(central), keys(reflect.TypeFor[configs.Central](), ""))
}

func sameKeys(t *testing.T, role string, documented, have []string) {
	t.Helper()
	for _, key := range have {
		if !slices.Contains(documented, key) {
			t.Errorf("README.md does not explain %s's key %s", role, key)
		}
	}
	for _, key := range documented {
		if !slices.Contains(have, key) {
			t.Errorf("README.md explains %s, which is no key of %s", key, role)
		}
	}
}

// documented lists the keys in the first column of the rows; a.{b,c} is two.
func documented(table string) (list []string) {
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(table, -1) {
		for _, name := range strings.Split(row[1], "`, `") {
			before, names, _ := strings.Cut(strings.Trim(name, "`"), "{")
			for _, last := range strings.Split(strings.Trim(names, "}"), ",") {
				list = append(list, before+last)
			}
		}
	}
	return list
}

// keys lists the keys that hold values; lists and maps count as one.
func keys(typ reflect.Type, prefix string) (list []string) {
	for i := range typ.NumField() {
		name, ok := typ.Field(i).Tag.Lookup("yaml")
		if !ok || name == "-" {
			continue
		}
		var inner []string
		if typ.Field(i).Type.Kind() == reflect.Struct {
			inner = keys(typ.Field(i).Type, prefix+name+".")
		}
		if inner == nil { // a value, or a struct that is written as one text
			inner = []string{prefix + name}
		}
		list = append(list, inner...)
	}
	return list
}
