// Command openapi completes the output of protoc-gen-openapi with what only the descriptors know: that whole numbers are numbers, who may call,
// which answers there are, and what a request must hold.
//
//	openapi -in raw.yaml -out openapi.yaml
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"example.com/fourfold/gateway/internal/upstream"
)

func main() {
	in := flag.String("in", "", "what protoc-gen-openapi wrote")
	out := flag.String("out", "", "the finished document")
	flag.Parse()
	if err := run(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	raw, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var doc document
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true) // otherwise fields that the model does not know would be lost
	if err := d.Decode(&doc); err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	if err := complete(&doc, upstream.Files()); err != nil {
		return err
	}
	var text bytes.Buffer
	text.WriteString("# Made from the protos by `make generate`. Do not edit.\n")
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return err
	}
	return os.WriteFile(out, text.Bytes(), 0o644)
}
