//go:build !e2e

package store

// moreRounds of damage are for the long tests; see rounds_e2e_test.go.
const moreRounds = 1
