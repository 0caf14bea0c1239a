// A sidecar in Go: pillion.go does what the host expects, and this file is the app's own server.
package main

import (
	"fmt"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello from Go: %s\n", r.URL.Path)
	})
	Serve("AIOS", http.DefaultServeMux)
}
