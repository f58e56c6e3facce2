// chart-renderer NAME CHART NAMESPACE [KEY=VALUE…] renders a chart as `helm template NAME CHART --namespace NAMESPACE --set …` does,
// with what charts of one's own need of it: no subcharts, no hooks, no cluster. VALUE is YAML.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"gopkg.in/yaml.v3"
)

type values = map[string]interface{}

func main() {
	if len(os.Args) < 4 {
		fail("arguments: NAME CHART NAMESPACE [KEY=VALUE…]")
	}
	name, chart, namespace := os.Args[1], os.Args[2], os.Args[3]
	given := read(filepath.Join(chart, "values.yaml"))
	for _, pair := range os.Args[4:] {
		set(given, pair)
	}
	about := values{}
	for key, value := range read(filepath.Join(chart, "Chart.yaml")) {
		about[strings.ToUpper(key[:1])+key[1:]] = value
	}
	context := values{
		"Chart":        about,
		"Values":       given,
		"Files":        files{chart},
		"Release":      values{"Name": name, "Namespace": namespace, "Service": "Helm", "IsInstall": true},
		"Capabilities": values{"KubeVersion": values{"Version": "v1.33.0", "Major": "1", "Minor": "33"}},
	}
	render(filepath.Join(chart, "templates"), context)
}

func render(folder string, context values) {
	all := template.New("").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	functions["toYaml"] = toYaml
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", message)
		}
		return value, nil
	}
	all.Funcs(functions)
	paths, err := filepath.Glob(filepath.Join(folder, "*"))
	check(err)
	sort.Strings(paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(err)
		_, err = all.New(filepath.Base(path)).Parse(string(text))
		check(err)
	}
	for _, path := range paths {
		if filepath.Ext(path) != ".yaml" {
			continue
		}
		var out bytes.Buffer
		check(all.ExecuteTemplate(&out, filepath.Base(path), context))
		if text := strings.TrimSpace(out.String()); text != "" {
			fmt.Printf("---\n# Source: knap/templates/%s\n%s\n", filepath.Base(path), strings.TrimPrefix(text, "---\n"))
		}
	}
}

// files is what a template reads of the chart's other files.
type files struct{ chart string }

func (f files) Get(name string) string {
	text, err := os.ReadFile(filepath.Join(f.chart, name))
	if err != nil {
		return ""
	}
	return string(text)
}

func set(given values, pair string) {
	path, text, found := strings.Cut(pair, "=")
	if !found {
		fail("not KEY=VALUE: " + pair)
	}
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		inner, ok := given[key].(values)
		if !ok {
			fail("no such value: " + path)
		}
		given = inner
	}
	last := keys[len(keys)-1]
	if _, known := given[last]; !known {
		fail("no such value: " + path)
	}
	var value interface{}
	check(yaml.Unmarshal([]byte(text), &value))
	given[last] = value
}

func read(path string) values {
	text, err := os.ReadFile(path)
	check(err)
	read := values{}
	check(yaml.Unmarshal(text, &read))
	return read
}

func toYaml(value interface{}) (string, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, "chart-renderer:", message)
	os.Exit(1)
}
