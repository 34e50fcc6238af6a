package main

import (
	"errors"
	"strings"
	"testing"
)

const handmade = "../../testdata/set"

func answer(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	err := run(args, strings.NewReader(in), &out)
	return out.String(), err
}

func TestTablesAndJSONLinesAreAnsweredAlike(t *testing.T) {
	table := "step.id,batch.prefill_tokens,batch.decode_tokens,batch.scheduled_tokens," +
		"batch.num_prefill_reqs,batch.num_decode_reqs,kv.tokens_sum,kv.tokens_max,kv.tokens_mean\n" +
		"7,188,1,189,1,1,553,512,276.5\n8,0,0,0,0,0,,,\n"
	lines := `{"requests": [{"new_tokens": 188, "progress": 512, "input_len": 700},` +
		`{"new_tokens": 1, "progress": 41, "input_len": 30}]}` + "\n\n" +
		`{"batch.prefill_tokens": 0, "batch.decode_tokens": 0, "batch.scheduled_tokens": 0,` +
		`"batch.num_prefill_reqs": 0, "batch.num_decode_reqs": 0, "kv.tokens_sum": null}` + "\n"
	byTable, err := answer(t, table, "predict", "--model", "made-raw", handmade)
	if err != nil {
		t.Fatal(err)
	}
	byLines, err := answer(t, lines, "predict", "--model=made-raw", handmade)
	if err != nil {
		t.Fatal(err)
	}
	if byTable != byLines || strings.Count(byTable, "\n") != 3 ||
		!strings.HasPrefix(byTable, "us,out_of_domain,missing,blackbox\n") {
		t.Errorf("%q\n%q", byTable, byLines)
	}
}

func TestTheBlackboxAnswersOutsideTheDomainIfAsked(t *testing.T) {
	table := "batch.prefill_tokens,batch.decode_tokens\n1000000,10\n"
	out, err := answer(t, table, "predict", "--model", "made-raw", "--blackbox-out-of-domain", handmade)
	if err != nil || !strings.Contains(out, "\n2003400,") || !strings.HasSuffix(out, ",true\n") {
		t.Error(out, err)
	}
}

func TestListAndVerifyNameEveryArtifact(t *testing.T) {
	for command, says := range map[string]string{
		"list":   "made-raw/h100/tp1: step.cycle_us, 8 trees; also made-raw, made/raw\n  temporal tail: MAPE 3.1 % of 9 rows",
		"verify": "made-raw/h100/tp1: 120 golden rows agree",
	} {
		out, err := answer(t, "", command, handmade)
		if err != nil || !strings.Contains(out, says) || !strings.Contains(out, "made-log/h100/tp1") {
			t.Error(out, err)
		}
	}
}

func TestWrongLinesAreNamed(t *testing.T) {
	for in, says := range map[string]string{
		"":                                    "no steps",
		"step.id\n1\n":                        "no column of the header is an input",
		"batch.prefill_tokens\n1\nmany\n":     `line 3: batch.prefill_tokens is "many"`,
		"batch.prefill_tokens\n1,2\n":         "wrong number of fields",
		`{"batch.prefill_tokens": 1}` + "\n{": "line 2",
		`{"batch.prefill_tokens": "1"}`:       "is \"1\", not a number",
		`{"steps": 1}`:                        "neither requests nor an input",
		`{"requests": 1}`:                     "requests: ",
	} {
		_, err := answer(t, in, "predict", "--model", "made-raw", handmade)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q gave %v, not %q", in, err, says)
		}
	}
}

func TestWrongArgumentsShowTheUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"predict", handmade}, {"list"}, {"list", "a", "b"}, {"frobnicate", handmade}, {"list", "--x", handmade},
	} {
		if _, err := answer(t, "", args...); !errors.Is(err, errUsage) {
			t.Errorf("%v gave %v", args, err)
		}
	}
	if _, err := answer(t, "", "list", "no/such/folder"); err == nil || !strings.Contains(err.Error(), "no set of artifacts") {
		t.Error(err)
	}
}
