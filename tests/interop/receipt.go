package main

import (
	"errors"
	"strings"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// Section 9: a receipt.

const maxProof = 63

type receiptSummary struct {
	Origin string   `json:"origin"`
	Size   int64    `json:"size"`
	Index  uint64   `json:"index"`
	Value  string   `json:"value"`
	Signed []string `json:"signed_by"`
}

func checkReceipt(raw []byte, keys keyring) (receiptSummary, error) {
	var summary receiptSummary
	opening, index, hashes, signed, err := parseReceipt(string(raw))
	if err != nil {
		return summary, tampered("%w", err)
	}
	checkpoint, signatures, err := openCheckpoint([]byte(signed), keys)
	if err != nil {
		return summary, err
	}
	_, record, err := parseOpening(opening)
	if err != nil {
		return summary, tampered("%w", err)
	}
	if err := included(index, uint64(checkpoint.N), opening, hashes, checkpoint.Hash[:]); err != nil {
		return summary, err
	}
	summary = receiptSummary{Origin: checkpoint.Origin, Size: checkpoint.N, Index: index}
	for _, signature := range signatures {
		summary.Signed = append(summary.Signed, signature.Name)
	}
	if record != nil {
		if formatOf(*record) == "native" && errors.Is(oneReading(record.value), errTwice) {
			return summary, tampered("%w", errTwice)
		}
		summary.Value = string(record.value)
	}
	return summary, nil
}

// included verifies with transparency-dev/merkle that the entry an opening begins with is a leaf of the tree.
func included(index, size uint64, opening []byte, hashes [][]byte, root []byte) error {
	leaf := rfc6962.DefaultHasher.HashLeaf(opening[:entrySize])
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf, hashes, root); err != nil {
		return tampered("%w", err)
	}
	return nil
}

func parseReceipt(text string) (opening []byte, index uint64, hashes [][]byte, signed string, err error) {
	head, signed, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || len(lines) > 3+maxProof || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, 0, nil, "", errors.New("not a receipt")
	}
	extra, hasExtra := strings.CutPrefix(lines[1], "extra ")
	place, hasIndex := strings.CutPrefix(lines[2], "index ")
	if !hasExtra || !hasIndex {
		return nil, 0, nil, "", errors.New("a receipt without its record or index")
	}
	if opening, err = decodeBase64(extra); err != nil {
		return nil, 0, nil, "", err
	}
	if index, err = parseDecimal(place); err != nil {
		return nil, 0, nil, "", err
	}
	hashes, err = decodeHashes(lines[3:])
	return opening, index, hashes, signed, err
}

func decodeHashes(lines []string) ([][]byte, error) {
	if len(lines) > maxProof {
		return nil, errors.New("a proof of more than 63 hashes")
	}
	hashes := make([][]byte, 0, len(lines))
	for _, line := range lines {
		hash, err := decodeHash(line)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}
