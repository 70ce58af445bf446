package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// Section 4: the genesis statement, which leaf 0 commits to.

type genesis struct {
	origin   string
	base     uint64
	keys     []string
	previous []string
}

// checkGenesis reads a statement and holds it against leaf 0.
func checkGenesis(statement string, leaf entry) (genesis, error) {
	if leaf.kind != genesisEntry || leaf.commit != sha256.Sum256([]byte(statement)) {
		return genesis{}, errors.New("leaf 0 does not commit to the genesis that is published")
	}
	g, err := parseGenesis(statement)
	if err == nil && g.base != leaf.offset {
		err = fmt.Errorf("the genesis begins at %d, leaf 0 at %d", g.base, leaf.offset)
	}
	return g, err
}

func parseGenesis(statement string) (genesis, error) {
	var g genesis
	lines := strings.Split(statement, "\n")
	if len(lines) < 6 || lines[0] != "trailseal-genesis/1" || lines[len(lines)-1] != "" {
		return g, errors.New("no genesis statement")
	}
	origin, hasOrigin := strings.CutPrefix(lines[1], "origin ")
	base, err := number(lines[2], "base ")
	if err != nil || !hasOrigin || !strings.HasPrefix(lines[len(lines)-2], "reason ") {
		return g, errors.New("a genesis without origin, base or reason")
	}
	g.origin, g.base = origin, base
	for _, line := range lines[3 : len(lines)-2] {
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case word == "key" && len(g.previous) == 0 && strings.HasPrefix(rest, origin+"+"):
			g.keys = append(g.keys, rest)
		case word == "previous" && isPrevious(rest):
			g.previous = append(g.previous, rest)
		default:
			return g, fmt.Errorf("a line that does not belong there: %q", line)
		}
	}
	if len(g.keys) == 0 {
		return g, errors.New("a genesis without a key")
	}
	return g, nil
}

func isPrevious(rest string) bool {
	parts := strings.SplitN(rest, " ", 3)
	if len(parts) != 3 {
		return false
	}
	_, badSize := parseDecimal(parts[0])
	_, badRoot := decodeHash(parts[1])
	return badSize == nil && badRoot == nil && parts[2] != ""
}
