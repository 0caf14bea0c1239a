package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestMain makes the test program a sidecar with the handlers that docs/protocol/README.md demands. A test in Rust,
// crates/integration-tests/tests/go.rs, builds it and runs the vectors against it.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_VECTORS") == "" {
		os.Exit(m.Run())
	}
	Serve("Test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" && r.Header.Get("Upgrade") != "" {
			socket(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		w.Header().Set("x-handler", "reached")
	}))
}

// socket accepts a WebSocket as a library does: on the hijacked connection.
func socket(w http.ResponseWriter, r *http.Request) {
	offered := strings.Join(r.Header.Values(protocolHeader), ", ")
	connection, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Subprotocols: " + offered + "\r\n"
	for _, offer := range strings.Split(offered, ", ") {
		if offer == "chat" {
			answer += "Sec-WebSocket-Protocol: chat\r\n"
		}
	}
	fmt.Fprint(connection, answer+"\r\n")
}

func TestProgressFollowsTheVectors(t *testing.T) {
	data, err := os.ReadFile("../../docs/protocol/progress.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Lines []struct{ Name, Words, Line string }
	}
	if err := json.Unmarshal(data, &file); err != nil || len(file.Lines) == 0 {
		t.Fatal("no lines:", err)
	}
	for _, vector := range file.Lines {
		if line := progressLine(vector.Words); line != vector.Line {
			t.Errorf("%s: %q, not %q", vector.Name, line, vector.Line)
		}
	}
}

func TestOriginsOfOneSiteAreValid(t *testing.T) {
	for origin, valid := range map[string]bool{
		"tauri://localhost": true, "http://[::1]:1420": true, "app://x": true,
		"*": false, "null": false, "http://localhost/": false, "http://*.example.org": false, "://localhost": false,
	} {
		if originForm.MatchString(origin) != valid {
			t.Errorf("%q is valid: %v", origin, !valid)
		}
	}
}

func TestNoOtherProgramInheritsTheVariablesOfTheHost(t *testing.T) {
	names := []string{"PILLION_TOKEN", "PILLION_PIPE", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
	for _, name := range names {
		t.Setenv(name, "x")
	}
	readEnvironment()
	for _, name := range names {
		if value, set := os.LookupEnv(name); set {
			t.Errorf("%s=%s is still set", name, value)
		}
	}
}
