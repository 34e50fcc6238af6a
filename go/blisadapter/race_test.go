//go:build race

package blisadapter

const raceDetector = true
