package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"gpucv/steptime"
)

// predict answers step by step: CSV, or JSON lines where the first character is a brace.
func predict(model *steptime.Model, in io.Reader, out io.Writer) error {
	reader := bufio.NewReader(in)
	fmt.Fprintln(out, "us,out_of_domain,missing,blackbox")
	answer := func(line int, inputs *steptime.Inputs) error {
		us, flags, err := model.Predict(inputs)
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		_, err = fmt.Fprintf(out, "%d,%d,%d,%t\n", us, flags.OutOfDomain, flags.Missing, flags.Blackbox)
		return err
	}
	first, err := reader.Peek(1)
	if err == io.EOF {
		return errors.New("no steps on standard input")
	}
	if err != nil {
		return err
	}
	if first[0] == '{' {
		return readLines(reader, answer)
	}
	return readTable(reader, answer)
}

// unknown are inputs of which nothing is known.
func unknown() (row [len(steptime.InputNames)]float64) {
	for i := range row {
		row[i] = math.NaN()
	}
	return row
}

// position returns where an input stands, or -1.
func position(name string) int {
	for i, known := range steptime.InputNames {
		if name == known {
			return i
		}
	}
	return -1
}

// readTable reads CSV. Columns that are no inputs are passed over.
func readTable(in io.Reader, answer func(int, *steptime.Inputs) error) error {
	table := csv.NewReader(in)
	table.ReuseRecord = true
	header, err := table.Read()
	if err != nil {
		return err
	}
	header = append([]string(nil), header...) // the next record takes its place
	places, known := make([]int, len(header)), 0
	for i, name := range header {
		places[i] = position(strings.TrimPrefix(strings.TrimSpace(name), "\ufeff"))
		if places[i] >= 0 {
			known++
		}
	}
	if known == 0 {
		return fmt.Errorf("no column of the header is an input; they are %s",
			strings.Join(steptime.InputNames[:], ", "))
	}
	for line := 2; ; line++ {
		record, err := table.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		row := unknown()
		for i, cell := range record {
			cell = strings.TrimSpace(cell)
			if places[i] < 0 || cell == "" {
				continue
			}
			if row[places[i]], err = strconv.ParseFloat(cell, 64); err != nil {
				return fmt.Errorf("line %d: %s is %.40q, not a number", line, header[i], cell)
			}
		}
		inputs := steptime.InputsOfRow(row)
		if err := answer(line, &inputs); err != nil {
			return err
		}
	}
}

// readLines reads one JSON object per line.
func readLines(in io.Reader, answer func(int, *steptime.Inputs) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for line := 1; lines.Scan(); line++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		inputs, err := readStep(lines.Bytes())
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if err := answer(line, &inputs); err != nil {
			return err
		}
	}
	return lines.Err()
}

type requestLine struct {
	NewTokens int64 `json:"new_tokens"`
	Progress  int64 `json:"progress"`
	InputLen  int64 `json:"input_len"`
}

// readStep reads a step by its inputs' names, or by its requests.
func readStep(text []byte) (steptime.Inputs, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return steptime.Inputs{}, err
	}
	if batch, given := fields["requests"]; given {
		var requests []requestLine
		if err := json.Unmarshal(batch, &requests); err != nil {
			return steptime.Inputs{}, fmt.Errorf("requests: %w", err)
		}
		return steptime.InputsOf(requests, func(r requestLine) steptime.Request {
			return steptime.Request(r)
		}), nil
	}
	row, known := unknown(), 0
	for name, value := range fields {
		at := position(name)
		if at < 0 {
			continue
		}
		known++
		if string(value) == "null" {
			continue
		}
		if err := json.Unmarshal(value, &row[at]); err != nil {
			return steptime.Inputs{}, fmt.Errorf("%s is %.40s, not a number", name, value)
		}
	}
	if known == 0 {
		return steptime.Inputs{}, fmt.Errorf("neither requests nor an input; inputs are %s",
			strings.Join(steptime.InputNames[:], ", "))
	}
	return steptime.InputsOfRow(row), nil
}
