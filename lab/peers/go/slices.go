// Peers in a sorted slice, as the reference keeps them: go run slices.go N ROUNDS
package main

import (
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

func insert(peers []string, peer string) []string {
	at := sort.SearchStrings(peers, peer)
	if at < len(peers) && peers[at] == peer {
		return peers
	}
	if at == 0 {
		return append([]string{peer}, peers...)
	}
	peers = append(peers, "")
	copy(peers[at+1:], peers[at:])
	peers[at] = peer
	return peers
}

var kept []string

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	rounds, _ := strconv.Atoi(os.Args[2])
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("10.0.%07d:7946", i)
	}
	rand.New(rand.NewSource(1)).Shuffle(n, func(i, j int) { names[i], names[j] = names[j], names[i] })

	var adds, snapshots []string
	for round := 0; round < rounds; round++ {
		var peers []string
		start := time.Now()
		for _, name := range names {
			peers = insert(peers, name)
		}
		adds = append(adds, fmt.Sprint(float64(time.Since(start).Nanoseconds())/float64(n)))

		many := 1000000 / n
		start = time.Now()
		for i := 0; i < many; i++ {
			kept = append([]string(nil), peers...)
		}
		snapshots = append(snapshots, fmt.Sprint(float64(time.Since(start).Nanoseconds())/float64(many)))
	}
	fmt.Println("add", strings.Join(adds, " "))
	fmt.Println("snapshot", strings.Join(snapshots, " "))
}
