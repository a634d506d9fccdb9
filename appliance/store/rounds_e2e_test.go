//go:build e2e

package store

// moreRounds makes about 300 damaged files of TestDamagedFiles.
const moreRounds = 10
