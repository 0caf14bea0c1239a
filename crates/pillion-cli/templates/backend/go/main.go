// The backend of the app. pillion.go does what the host expects of a sidecar.
package main

import (
	"encoding/json"
	"net/http"
)

func hello(writer http.ResponseWriter, _ *http.Request) {
	writer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(writer).Encode(map[string]string{"text": "Hello from Go"})
}

func main() {
	http.HandleFunc("/hello", hello)
	Serve("backend", http.DefaultServeMux)
}
