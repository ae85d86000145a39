package configs

import (
	"errors"
	"io"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"

	"scanrelay/configs/textfile"
)

// maxFile bounds a configuration file; maxNodes and maxDepth bound what the parser, and
// aliases, may make of it.
const (
	maxFile  = 1 << 20
	maxNodes = 200_000
	maxDepth = 40
)

// positioned is what the parser's errors have. The package that names them is
// not imported: it would bring the whole decoder into the binary.
type positioned interface {
	GetMessage() string
	GetToken() *token.Token
}

// parseYAML returns the one document in data, nil if it is empty. Duplicate keys
// are found while decoding, so that they don't hide other problems.
func parseYAML(data []byte) (body ast.Node, line int, err error) {
	defer func() { // the parser is not ours; no input may end the process
		if r := recover(); r != nil {
			body, line, err = nil, 1, errors.New("is no YAML that can be read")
		}
	}()
	text, line, err := textfile.UTF8(data)
	if err != nil {
		return nil, line, err
	}
	if line, err := bounded(string(text)); err != nil {
		return nil, line, err
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var bad positioned
		if errors.As(err, &bad) && bad.GetToken() != nil {
			return nil, bad.GetToken().Position.Line, errors.New("is no YAML: " + bad.GetMessage())
		}
		return nil, 1, errors.New("is no YAML: " + firstLine(err.Error()))
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return nil, lineOf(doc.Body), errors.New("holds more than one YAML document")
		}
		body = doc.Body
	}
	return body, 1, nil
}

// maxEntries bounds the keys of one mapping, and the entries of one in brackets.
const maxEntries = 10_000

// bounded refuses a text of which the parser would make too much: what it takes grows
// with the square of the depth, half a gigabyte for 16 KiB of brackets, and of the keys
// of a mapping. Strings and comments are one token each to the scanner.
func bounded(text string) (line int, err error) {
	// The scanner takes a line as a whole, which may be all of the file.
	for _, part := range []string{text[:min(len(text), 64<<10)], text} {
		if line, err = boundedPart(part); err != nil {
			return line, err
		}
	}
	return 0, nil
}

func boundedPart(text string) (line int, err error) {
	var s scanner.Scanner
	s.Init(text)
	type level struct{ column, entries int } // one that is open; column 0: in brackets
	open := []level{{}}
	tokens, key := 0, 0
	for {
		some, err := s.Scan()
		if err == io.EOF {
			return 0, nil
		}
		for _, t := range some {
			begins, entries := 0, 0
			switch t.Type {
			case token.SequenceStartType, token.MappingStartType:
				open = append(open, level{})
			case token.SequenceEndType, token.MappingEndType:
				if last := len(open) - 1; last > 0 && open[last].column == 0 {
					open = open[:last]
				}
			case token.CollectEntryType:
				entries = 1
			case token.SequenceEntryType, token.MappingKeyType:
				begins = t.Position.Column
			case token.MappingValueType:
				begins, entries = key, 1
			}
			top := &open[len(open)-1]
			if begins > 0 && (top.column > 0 || len(open) == 1) {
				for open[len(open)-1].column > begins {
					open = open[:len(open)-1]
				}
				if open[len(open)-1].column < begins {
					open = append(open, level{column: begins})
				}
				top = &open[len(open)-1]
			}
			top.entries += entries
			tokens, key = tokens+1, t.Position.Column
			if tokens > maxNodes || len(open) > maxDepth+1 || top.entries > maxEntries {
				return t.Position.Line, errors.New("is nested too deep or too long")
			}
		}
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// lineOf returns where a node begins; 1 where it doesn't say.
func lineOf(n ast.Node) int {
	if n == nil {
		return 1
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		return lineOf(m.Values[0].Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return max(1, t.Position.Line)
	}
	return 1
}

// scalar returns the text of a scalar as it was written, so that 001 and the
// digits of a long number stay what they are.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}
