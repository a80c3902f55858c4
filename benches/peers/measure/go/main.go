// Go's versions of the benches: one file each, under the names of `src/bench`.
//
// Arguments and output are those of the other children: `BENCH` and a job, lines of figures; `--server BENCH` serves. There are as many threads
// running goroutines as the case has workers, so that what is compared with one worker has one.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// What the program is asked to do, as `Job` in `src/model.rs`.
type job struct {
	param string
	n     int
	size  int
}

var benches = map[string]func(job){
	"yield":       yields,
	"deep_yield":  deepYield,
	"spawn_join":  spawnJoin,
	"spawn_burst": spawnBurst,
	"skynet":      skynet,
	"pingpong":    pingpong,
	"stream":      stream,
	"ring":        ring,
	"timers":      timers,
	"precision":   precision,
	"memory":      memory,
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "--server" {
		serve(os.Args[2])
		return
	}
	if len(os.Args) < 6 {
		fail("BENCH and a job are needed")
	}
	bench, known := benches[os.Args[1]]
	if !known {
		fail("no such bench")
	}
	runtime.GOMAXPROCS(number(os.Args[5]))
	bench(job{param: os.Args[2], n: number(os.Args[3]), size: number(os.Args[4])})
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		fail(err.Error())
	}
	return n
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}

func assert(holds bool) {
	if !holds {
		panic("a wrong result")
	}
}

func figure(what, unit string, value float64) {
	fmt.Printf("figure\t%s\t%s\t%g\n", what, unit, value)
}

func absent(reason string) {
	fmt.Printf("absent\t%s\n", reason)
}

// Nanoseconds of each of `size` operations, after a tenth of them. As `measure::each`.
func each(size int, run func(size int) time.Duration) {
	run((size + 9) / 10)
	figure("", "ns", float64(run(size).Nanoseconds())/float64(size))
}

func ceil(a, b int) int {
	return (a + b - 1) / b
}
