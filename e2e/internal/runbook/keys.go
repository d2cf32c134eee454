package runbook

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Keys returns the keys with which the programs of the repository at root raise alerts, each with the places; of a key that is more than a
// constant, how it begins. It fails when it cannot tell a key: begin it with a constant where it is raised.
func Keys(root string) (map[string][]string, error) {
	set, folders := token.NewFileSet(), map[string][]*ast.File{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "var" || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir(), filepath.Ext(path) != ".go", strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		folders[filepath.Dir(path)] = append(folders[filepath.Dir(path)], file)
		return err
	})
	if err != nil {
		return nil, err
	}
	keys := map[string][]string{}
	for _, files := range folders {
		constants := names{}
		for _, file := range files {
			for _, decl := range file.Decls {
				if _, isFunc := decl.(*ast.FuncDecl); !isFunc {
					constants.learn(decl)
				}
			}
		}
		for _, file := range files {
			for _, decl := range file.Decls {
				if err := raised(set, decl, constants, keys); err != nil {
					return nil, err
				}
			}
		}
	}
	return keys, nil
}

// raised adds the keys of all calls of Raise within decl.
func raised(set *token.FileSet, decl ast.Decl, constants names, keys map[string][]string) (failed error) {
	known := names{}
	for name, value := range constants {
		known[name] = value
	}
	known.learn(decl)
	ast.Inspect(decl, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 4 {
			return true
		}
		if s, ok := call.Fun.(*ast.SelectorExpr); !ok || s.Sel.Name != "Raise" {
			return true
		}
		at := set.Position(call.Pos()).String()
		begins := known.begins(call.Args[1])
		if len(begins) == 0 {
			failed = fmt.Errorf("%s: which alert is this? Begin its key with a constant", at)
		}
		for _, key := range begins {
			keys[key] = append(keys[key], at)
		}
		return true
	})
	return failed
}

// names are the expressions that constants and variables stand for.
type names map[string]ast.Expr

// learn adds the names that n gives to expressions.
func (k names) learn(n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, value := range n.Values {
				k[n.Names[i].Name] = value
			}
		case *ast.AssignStmt:
			if name, ok := n.Lhs[0].(*ast.Ident); ok && len(n.Lhs) == len(n.Rhs) && n.Tok == token.DEFINE {
				k[name.Name] = n.Rhs[0]
			}
		}
		return true
	})
}

// begins returns the texts that e begins with: one, or all values of a map that is indexed; nil when it cannot tell.
func (k names) begins(e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return []string{text}
		}
	case *ast.Ident:
		if value := k[e.Name]; value != nil {
			delete(k, e.Name) // not again while it is looked up
			defer func() { k[e.Name] = value }()
			return k.begins(value)
		}
	case *ast.BinaryExpr:
		return k.begins(e.X)
	case *ast.IndexExpr:
		of, ok := e.X.(*ast.CompositeLit)
		if !ok {
			return nil
		}
		var all []string
		for _, element := range of.Elts {
			value := k.begins(element.(*ast.KeyValueExpr).Value)
			if value == nil {
				return nil
			}
			all = append(all, value...)
		}
		return all
	}
	return nil
}
