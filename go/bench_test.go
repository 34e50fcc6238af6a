package steptime

import (
	"fmt"
	"testing"
)

var sink int64

// Every step of a simulation is another one, so that the walks and what the processor keeps
// at hand differ from call to call.
func BenchmarkPredict(b *testing.B) {
	for _, size := range [][2]int{{300, 6}, {300, 4}, {100, 6}} {
		b.Run(fmt.Sprintf("trees=%d/depth=%d", size[0], size[1]), func(b *testing.B) {
			model, all := madeModel(b, size[0], size[1]), steps(1024)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				us, _, err := model.Predict(&all[i%len(all)])
				if err != nil {
					b.Fatal(err)
				}
				sink += us
			}
		})
	}
}

func BenchmarkFeatures(b *testing.B) {
	model, all := madeModel(b, 1, 1), steps(1024)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		value, _ := model.Value(&all[i%len(all)])
		sink += int64(value)
	}
}

func BenchmarkPredictBatch(b *testing.B) {
	model := madeModel(b, 300, 6)
	batch := make([]Request, 128)
	for i := range batch {
		batch[i] = Request{NewTokens: 1, Progress: int64(600 + 7*i), InputLen: 512}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		batch[i%len(batch)].Progress++
		us, _, err := model.PredictBatch(batch)
		if err != nil {
			b.Fatal(err)
		}
		sink += us
	}
}
