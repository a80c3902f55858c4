package main

import (
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// From the moment when all have started to that when all have finished. As `measure::Gate`.
type gate struct {
	tasks, arrived, finished int64
	open, shut               time.Time
	done                     sync.WaitGroup
}

func newGate(tasks int) *gate {
	g := &gate{tasks: int64(tasks)}
	g.done.Add(tasks)
	return g
}

func (g *gate) arrive() {
	if atomic.AddInt64(&g.arrived, 1) == g.tasks {
		g.open = time.Now()
	}
}

func (g *gate) isOpen() bool {
	return atomic.LoadInt64(&g.arrived) == g.tasks
}

func (g *gate) finish() {
	if atomic.AddInt64(&g.finished, 1) == g.tasks {
		g.shut = time.Now()
	}
	g.done.Done()
}

func (g *gate) wait() time.Duration {
	g.done.Wait()
	return g.shut.Sub(g.open)
}

// A goroutine whose result can be waited for, and whose panic ends nobody else.
type handle struct {
	result chan int
	panic  interface{}
}

func spawn(f func() int) *handle {
	h := &handle{result: make(chan int, 1)}
	go func() {
		defer func() {
			if h.panic = recover(); h.panic != nil {
				close(h.result)
			}
		}()
		h.result <- f()
	}()
	return h
}

func (h *handle) join() int {
	result, ok := <-h.result
	if !ok {
		panic(h.panic)
	}
	return result
}

func status(key string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err.Error())
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, key) {
			kibibytes, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return kibibytes * 1024
		}
	}
	return 0
}

func residentAndTables() float64 {
	return status("VmRSS:") + status("VmPTE:")
}

func mappings() float64 {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		fail(err.Error())
	}
	return float64(strings.Count(string(text), "\n"))
}

// The value below which such a part of them is.
func quantile(values []time.Duration, part float64) time.Duration {
	sort.Slice(values, func(i, j int) bool { return values[i] < values[j] })
	return values[int(part*float64(len(values)-1))]
}

func yield() {
	runtime.Gosched()
}
