// Package peer is what the drivers in Go have in common: bench/peers/prepare tells the protocol.
package peer

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const refusalsShown = 5

// Setting is a setting that must be there.
func Setting(name string) string {
	value, there := os.LookupEnv(name)
	if !there {
		log.Fatalf("%s is not set", name)
	}
	return value
}

// Number is a setting that is a number.
func Number(name string) int {
	value, err := strconv.Atoi(Setting(name))
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// Handles are the lines of PEER_HANDLES.
func Handles() []string {
	text, err := os.ReadFile(Setting("PEER_HANDLES"))
	if err != nil {
		log.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// Rounds says ready and has `run` carry out each order: it sends to the handles and names each that was refused.
func Rounds(handles []string, run func(handles []string, refused func(handle, reason string))) {
	fmt.Println("ready")
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		var round, from, count int
		if _, err := fmt.Sscan(input.Text(), &round, &from, &count); err != nil {
			log.Fatal(err)
		}
		var failed atomic.Int64
		run(handles[from:from+count], func(handle, reason string) {
			if failed.Add(1) <= refusalsShown {
				fmt.Println("refused", round, handle, reason)
			}
		})
		fmt.Println("done", round, int64(count)-failed.Load(), failed.Load())
	}
}

// Spread has `workers` goroutines call `send` for every handle; `worker` is the number of the one that calls.
func Spread(handles []string, workers int, send func(worker int, handle string)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for worker := range min(workers, len(handles)) {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := next.Add(1) - 1; i < int64(len(handles)); i = next.Add(1) - 1 {
				send(worker, handles[i])
			}
		}()
	}
	all.Wait()
}
