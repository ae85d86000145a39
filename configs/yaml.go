package configs

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"scanrelay/configs/textfile"
)

// maxFile bounds a configuration file; maxNodes and maxDepth bound what aliases
// may make of it.
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
