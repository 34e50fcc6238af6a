// Command steptime answers from a set of step-time artifacts on the command line.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"gpucv/steptime"
)

const usage = `usage:
  steptime predict --model NAME [--blackbox-out-of-domain] DIR < steps.csv|steps.jsonl
  steptime list DIR
  steptime verify DIR

predict reads one step per line and writes CSV: us,out_of_domain,missing,blackbox.
  CSV has a header of input columns (batch.prefill_tokens, ...); JSON lines hold them by
  name, or "requests": [{"new_tokens": 1, "progress": 600, "input_len": 512}, ...].
  A column that is not given, or a cell that is empty, is not known.
list shows the artifacts of a set. verify answers their golden rows, and compares.
`

// errUsage asks for the usage and exit status 2.
var errUsage = errors.New("usage")

func main() {
	out := bufio.NewWriter(os.Stdout)
	err := run(os.Args[1:], os.Stdin, out)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "steptime:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	model := flags.String("model", "", "")
	fallback := flags.Bool("blackbox-out-of-domain", false, "")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() != 1 {
		return errUsage
	}
	set, err := steptime.Load(flags.Arg(0))
	if err != nil {
		return err
	}
	switch args[0] {
	case "predict":
		if *model == "" {
			return errUsage
		}
		var options []steptime.Option
		if *fallback {
			options = append(options, steptime.BlackboxOutOfDomain())
		}
		chosen, err := set.Model(*model, options...)
		if err != nil {
			return err
		}
		return predict(chosen, in, out)
	case "list":
		return list(set, out)
	case "verify":
		return verify(set, out)
	}
	return errUsage
}

func list(set *steptime.Set, out io.Writer) error {
	if set.Synthetic() {
		fmt.Fprintln(out, "synthetic: trained on made-up rows")
	}
	for _, entry := range set.Entries() {
		fmt.Fprintf(out, "%s: %s, %d trees; also %s\n",
			entry.ID, entry.Target, entry.Trees, strings.Join(entry.Aliases, ", "))
		for _, score := range entry.HeldOut {
			fmt.Fprintf(out, "  %s %s: MAPE %.1f %% of %d rows\n",
				score.Scheme, score.Holdout, score.MAPE, score.Rows)
		}
	}
	return nil
}

func verify(set *steptime.Set, out io.Writer) error {
	for _, entry := range set.Entries() {
		rows, err := set.Verify(entry.ID)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d golden rows agree\n", entry.ID, rows)
	}
	return nil
}
