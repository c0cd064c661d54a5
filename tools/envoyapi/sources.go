package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// descriptors reads the descriptor of every generated file below the folder.
func descriptors(dir string) ([]*descriptorpb.FileDescriptorProto, error) {
	var out []*descriptorpb.FileDescriptorProto
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".pb.go") {
			return err
		}
		raw, err := rawDescriptor(path)
		if err != nil || raw == nil {
			return err
		}
		d := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(raw, d); err != nil {
			return fmt.Errorf("read the descriptor in %s: %w", path, err)
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

// rawDescriptor is the value of the constant or variable file_…_rawDesc; nil when the file has none.
func rawDescriptor(path string) ([]byte, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range g.Specs {
			v, ok := s.(*ast.ValueSpec)
			if ok && len(v.Values) == 1 && strings.HasSuffix(v.Names[0].Name, "_rawDesc") {
				return bytesOf(v.Values[0])
			}
		}
	}
	return nil, nil
}

// bytesOf evaluates what protoc-gen-go writes: a sum of strings, or a slice of bytes.
func bytesOf(e ast.Expr) ([]byte, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return []byte(s), err
	case *ast.BinaryExpr:
		left, err := bytesOf(e.X)
		if err != nil {
			return nil, err
		}
		right, err := bytesOf(e.Y)
		return append(left, right...), err
	case *ast.CompositeLit:
		out := make([]byte, 0, len(e.Elts))
		for _, elt := range e.Elts {
			lit, ok := elt.(*ast.BasicLit)
			if !ok {
				return nil, fmt.Errorf("a byte that is no literal: %T", elt)
			}
			b, err := strconv.ParseUint(lit.Value, 0, 8)
			if err != nil {
				return nil, err
			}
			out = append(out, byte(b))
		}
		return out, nil
	}
	return nil, fmt.Errorf("a descriptor that is written as %T", e)
}
