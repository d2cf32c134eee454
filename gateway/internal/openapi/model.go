package main

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// The part of OpenAPI 3.0 that the document uses.
type (
	document struct {
		OpenAPI    string        `yaml:"openapi"`
		Info       info          `yaml:"info"`
		Servers    []server      `yaml:"servers,omitempty"`
		Tags       []tag         `yaml:"tags,omitempty"`
		Paths      ordered[path] `yaml:"paths"`
		Components components    `yaml:"components"`
	}
	info struct {
		Title       string `yaml:"title"`
		Description string `yaml:"description,omitempty"`
		Version     string `yaml:"version"`
	}
	server struct {
		URL string `yaml:"url"`
	}
	tag struct {
		Name        string `yaml:"name"`
		Description string `yaml:"description,omitempty"`
	}
	// path has an operation for each method in lower case.
	path      = ordered[*operation]
	operation struct {
		Tags        []string              `yaml:"tags"`
		Summary     string                `yaml:"summary,omitempty"`
		Description string                `yaml:"description,omitempty"`
		OperationID string                `yaml:"operationId"`
		Security    []map[string][]string `yaml:"security"`
		Parameters  []*parameter          `yaml:"parameters,omitempty"`
		RequestBody *body                 `yaml:"requestBody,omitempty"`
		Responses   ordered[*response]    `yaml:"responses"`
	}
	parameter struct {
		Name        string  `yaml:"name"`
		In          string  `yaml:"in"`
		Description string  `yaml:"description,omitempty"`
		Required    bool    `yaml:"required,omitempty"`
		Schema      *schema `yaml:"schema"`
	}
	body struct {
		Required bool           `yaml:"required,omitempty"`
		Content  ordered[media] `yaml:"content"`
	}
	media struct {
		Schema *schema `yaml:"schema"`
	}
	response struct {
		Ref         string          `yaml:"$ref,omitempty"`
		Description string          `yaml:"description,omitempty"`
		Headers     ordered[header] `yaml:"headers,omitempty"`
		Content     ordered[media]  `yaml:"content,omitempty"`
	}
	header struct {
		Description string  `yaml:"description"`
		Schema      *schema `yaml:"schema"`
	}
	schema struct {
		Ref         string           `yaml:"$ref,omitempty"`
		AllOf       []*schema        `yaml:"allOf,omitempty"`
		Type        string           `yaml:"type,omitempty"`
		Format      string           `yaml:"format,omitempty"`
		Description string           `yaml:"description,omitempty"`
		Enum        []string         `yaml:"enum,omitempty"`
		Minimum     *int64           `yaml:"minimum,omitempty"`
		Maximum     *int64           `yaml:"maximum,omitempty"`
		MinLength   *uint64          `yaml:"minLength,omitempty"`
		MaxLength   *uint64          `yaml:"maxLength,omitempty"`
		Pattern     string           `yaml:"pattern,omitempty"`
		MinItems    *uint64          `yaml:"minItems,omitempty"`
		MaxItems    *uint64          `yaml:"maxItems,omitempty"`
		Items       *schema          `yaml:"items,omitempty"`
		Required    []string         `yaml:"required,omitempty"`
		Properties  ordered[*schema] `yaml:"properties,omitempty"`
		// Additional is false, or the schema of a map's values.
		Additional any `yaml:"additionalProperties,omitempty"`
	}
	components struct {
		SecuritySchemes ordered[securityScheme] `yaml:"securitySchemes,omitempty"`
		Responses       ordered[*response]      `yaml:"responses,omitempty"`
		Schemas         ordered[*schema]        `yaml:"schemas"`
	}
	securityScheme struct {
		Type         string `yaml:"type"`
		Scheme       string `yaml:"scheme"`
		BearerFormat string `yaml:"bearerFormat"`
		Description  string `yaml:"description"`
	}
)

// ordered is a mapping that keeps the order of its keys.
type ordered[T any] []entry[T]

type entry[T any] struct {
	key   string
	value T
}

// get returns the value of key, or the zero value and false.
func (o ordered[T]) get(key string) (value T, ok bool) {
	for _, e := range o {
		if e.key == key {
			return e.value, true
		}
	}
	return value, false
}

func (o *ordered[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: not a mapping", n.Line)
	}
	for i := 0; i < len(n.Content); i += 2 {
		e := entry[T]{key: n.Content[i].Value}
		if err := n.Content[i+1].Decode(&e.value); err != nil {
			return err
		}
		*o = append(*o, e)
	}
	return nil
}

func (o ordered[T]) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range o {
		var key, value yaml.Node
		if err := key.Encode(e.key); err != nil {
			return nil, err
		}
		if err := value.Encode(e.value); err != nil {
			return nil, err
		}
		n.Content = append(n.Content, &key, &value)
	}
	return n, nil
}
