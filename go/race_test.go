//go:build race

package steptime

const raceDetector = true
