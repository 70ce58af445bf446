// Command interop checks what Trailseal serves and hands out with clients that others wrote for transparency logs,
// and with what docs/reference/seal-format.md says of the formats that are Trailseal's own.
//
//	interop log SERVER VKEYS         read a served log as any monitor would
//	interop receipt FILE VKEYS       a .tlog-proof, offline
//	interop evidence FILE VKEYS      an evidence file, offline
//	interop key NAME                 make the key of a log that the next command cosigns
//	interop witness URL VKEYS SKEY   have a witness cosign checkpoints of a log made here
//
// VKEYS are verifier keys with white space between them, of logs and witnesses. A summary in JSON goes to standard
// output. Exit status as of `trailseal verify`: 0 holds, 1 was tampered with, 2 could not be verified.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

var (
	errTampered   = errors.New("tampered")
	errUnverified = errors.New("could not be verified")
)

func tampered(format string, values ...any) error {
	return fmt.Errorf("%w: %w", errTampered, fmt.Errorf(format, values...))
}

func unverified(format string, values ...any) error {
	return fmt.Errorf("%w: %w", errUnverified, fmt.Errorf(format, values...))
}

func run(arguments []string) (any, error) {
	switch {
	case len(arguments) == 3 && arguments[0] == "log":
		return checkServedLog(arguments[1], arguments[2])
	case len(arguments) == 3 && arguments[0] == "receipt":
		return onFile(arguments[1], arguments[2], checkReceipt)
	case len(arguments) == 3 && arguments[0] == "evidence":
		return onFile(arguments[1], arguments[2], checkEvidence)
	case len(arguments) == 2 && arguments[0] == "key":
		return makeKey(arguments[1])
	case len(arguments) == 4 && arguments[0] == "witness":
		return askWitness(arguments[1], arguments[2], arguments[3])
	}
	return nil, errors.New("called wrongly: see the comment at the top of main.go")
}

// onFile runs an offline check on a file's bytes and the keys that are trusted.
func onFile[T any](path, vkeys string, check func([]byte, keyring) (T, error)) (any, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(vkeys)
	if err != nil {
		return nil, err
	}
	return check(data, keys)
}

func main() {
	summary, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	switch {
	case errors.Is(err, errTampered):
		os.Exit(1)
	case errors.Is(err, errUnverified):
		os.Exit(2)
	case err != nil:
		os.Exit(3)
	}
	if err := json.NewEncoder(os.Stdout).Encode(summary); err != nil {
		os.Exit(3)
	}
}
