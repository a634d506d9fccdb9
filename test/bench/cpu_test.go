package main

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

func TestRunTimeSurvivesAChildThatEnds(t *testing.T) {
	child := exec.Command("true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	gone := child.Process.Pid
	if _, err := taskRunTime(gone); !errors.Is(err, errEnded) {
		t.Errorf("run time of an ended process: got %v, want %v", err, errEnded)
	}
	pids := []int{os.Getpid(), gone}
	if ns, err := runTime(pids); err != nil || ns <= 0 {
		t.Errorf("run time: got %d, %v", ns, err)
	}
	if m, err := readResident(pids); err != nil || m <= 0 {
		t.Errorf("resident: got %d, %v", m, err)
	}
	if err := eachThread(gone, func(int) error { return nil }); err != nil {
		t.Errorf("threads: got %v", err)
	}
}

func TestFamilyHasChildren(t *testing.T) {
	child := exec.Command("sleep", "10")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = child.Process.Kill(), child.Wait() }()
	found := false
	for _, pid := range family(os.Getpid()) {
		found = found || pid == child.Process.Pid
	}
	if !found {
		t.Errorf("no %d in the family %v", child.Process.Pid, family(os.Getpid()))
	}
}
