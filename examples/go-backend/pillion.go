// Copy this file into your program, and call Serve from main. It needs nothing but Go's standard library.
//
// It follows every rule of docs/protocol.md: it listens on 127.0.0.1 or on the listener of the host, announces itself, answers
// /health, proves that it holds the token, checks every request before your handler sees it, and stops gracefully.

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
)

// Grace is how long requests in flight may take after the host has asked the program to stop. The host kills the program 5 s
// after it asked, unless its declaration says otherwise.
const Grace = 4500 * time.Millisecond

// Stopping is closed when the host asks the program to stop. A handler that streams without end returns then.
var Stopping = make(chan struct{})

// Version is what /health shows. Set it before Serve, or leave it empty.
var Version = ""

var (
	started     = time.Now()
	nonceForm   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	tokenForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	versionForm = regexp.MustCompile(`^1(\.(0|[1-9][0-9]*))?$`)
	portForm    = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
	bearerForm  = regexp.MustCompile(`^(?i:bearer) +([^ \t]+)$`)
	originForm  = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^\[\]:/?#@*\sA-Z]+)(:[1-9][0-9]{0,4})?$`)
)

// protocol is the version of the protocol that this file follows.
const protocol = "1"

// protocolHeader lists the subprotocols of a WebSocket, in Go's spelling.
const protocolHeader = "Sec-Websocket-Protocol"

// environment holds the variables of the host. Reading it at the start of the program removes the token from the environment,
// so that no child process inherits it.
var environment, environmentError = readEnvironment()

type hostEnvironment struct {
	instance, token string
	origins         map[string]bool
	port            string
	// inherited says that descriptor 3 is for this process.
	inherited bool
}

func readEnvironment() (hostEnvironment, error) {
	var env hostEnvironment
	env.instance, env.token = os.Getenv("PILLION_INSTANCE"), os.Getenv("PILLION_TOKEN")
	env.port = os.Getenv("PORT")
	env.inherited = os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid())
	count, origins := os.Getenv("LISTEN_FDS"), os.Getenv("PILLION_ALLOWED_ORIGINS")
	overwriteToken(env.token)
	for _, name := range []string{"PILLION_TOKEN", "PILLION_PIPE", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if version := os.Getenv("PILLION_PROTOCOL"); version != "" && !versionForm.MatchString(version) {
		return env, fmt.Errorf("the host speaks version %q of Pillion's protocol (PILLION_PROTOCOL), and this sidecar speaks version %s: "+
			"update the older one of the two, so that both speak the same major version; without a host, unset the variable", version, protocol)
	}
	if env.token != "" && !tokenForm.MatchString(env.token) {
		return env, errors.New("PILLION_TOKEN is not 64 lower-case hexadecimal digits: unset it, only a host sets it")
	}
	if env.instance != "" && !nonceForm.MatchString(env.instance) {
		return env, errors.New("PILLION_INSTANCE is not 32 lower-case hexadecimal digits: unset it, only a host sets it")
	}
	if env.inherited {
		// Before the program starts another one: a child that held the listener would keep the port open.
		syscall.CloseOnExec(3)
		if count != "1" {
			return env, fmt.Errorf("LISTEN_FDS is %q, not 1: a sidecar takes exactly one listener", count)
		}
	} else if number, _ := strconv.Atoi(env.port); env.port != "" && (!portForm.MatchString(env.port) || number > 65535) {
		return env, fmt.Errorf("PORT is %q: set it to a number from 1 to 65535, or unset it to let the system choose", env.port)
	}
	if origins == "" {
		// Tauri's own pages: macOS and Linux; Windows and Android; the latter with useHttpsScheme.
		origins = "tauri://localhost,http://tauri.localhost,https://tauri.localhost"
	}
	env.origins = map[string]bool{}
	for _, origin := range strings.Split(origins, ",") {
		if origin = strings.Trim(origin, " "); origin == "" {
			continue
		}
		if !originForm.MatchString(origin) {
			return env, fmt.Errorf("PILLION_ALLOWED_ORIGINS lists %q: write scheme://host or scheme://host:port", origin)
		}
		env.origins[origin] = true
	}
	return env, nil
}

// overwriteToken overwrites the token in the initial environment block: /proc/PID/environ keeps showing that memory after the
// program has unset a variable, and other programs of the user can read it (proc_pid_environ(5)). Go has copied all variables
// before. It does nothing where that file does not exist.
func overwriteToken(token string) {
	block, err := os.ReadFile("/proc/self/environ")
	name := []byte("PILLION_TOKEN=")
	offset := bytes.Index(append([]byte{0}, block...), append(append([]byte{0}, name...), token...))
	if err != nil || token == "" || offset < 0 {
		return
	}
	// The second field is the program's name in parentheses, and may hold anything; the 50th is env_start (proc_pid_stat(5)).
	stat, _ := os.ReadFile("/proc/self/stat")
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 48 {
		return
	}
	start, err := strconv.ParseInt(fields[47], 10, 64)
	if err != nil {
		return
	}
	if memory, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0); err == nil {
		defer memory.Close()
		memory.WriteAt(bytes.Repeat([]byte("-"), len(token)), start+int64(offset+len(name)))
	}
}

// Serve runs handler as a sidecar of the app, and ends the program: with 0 after a graceful stop, with 1 if it cannot start, with
// 128 + n at once on a second signal of number n, unless stdin has ended. Only requests from the app reach the handler. Print nothing to stdout before.
func Serve(app string, handler http.Handler) {
	if err := serve(app, handler); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Progress says how far the program is, such as "loading model 42%": in a line on stdout, which the app, its page and
// `pillion run` show. Empty words withdraw the last ones. Call it at any time, even before Serve: where the declaration has
// readyTimeoutMaxMs, each call gives the start more time.
//
// The host keeps 256 bytes of the words, and shows the last ones at most four times a second. Control characters become spaces.
func Progress(words string) error {
	_, err := os.Stdout.WriteString(progressLine(words))
	return err
}

func progressLine(words string) string {
	clean := strings.Join(strings.FieldsFunc(words, func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r <= 0x9f
	}), " ")
	if end := 256; len(clean) > end {
		for end > 0 && !utf8.RuneStart(clean[end]) {
			end--
		}
		clean = strings.TrimSuffix(clean[:end], " ")
	}
	return "BACKEND_STATUS:" + clean + "\n"
}

func serve(app string, handler http.Handler) error {
	if environmentError != nil {
		return environmentError
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	gate := &gate{app: app, handler: handler, names: []string{"localhost"}, local: "localhost"}
	announcement := "BACKEND_SOCKET:3\n"
	if bound, ok := listener.Addr().(*net.TCPAddr); ok {
		gate.local = fmt.Sprintf("127.0.0.1:%d", bound.Port)
		gate.names = []string{gate.local, fmt.Sprintf("localhost:%d", bound.Port)}
		if bound.Port == 80 {
			gate.names = append(gate.names, "127.0.0.1", "localhost")
		}
		announcement = fmt.Sprintf("BACKEND_PORT:%d\n", bound.Port)
	}
	// WriteTimeout stays 0: an event stream may last.
	var silent sync.Map
	server := &http.Server{Handler: gate, ReadHeaderTimeout: 30 * time.Second}
	server.ConnState = func(connection net.Conn, state http.ConnState) {
		if state == http.StateNew {
			silent.Store(connection, true)
		} else {
			silent.Delete(connection)
		}
	}
	// Watch before the announcement: the host may ask right after it.
	asked := watch()
	if _, err := os.Stdout.WriteString(announcement); err != nil {
		return fmt.Errorf("cannot write the announcement to stdout: %w", err)
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case cause := <-asked:
		fmt.Fprintln(os.Stderr, "stopping:", cause)
		close(Stopping)
	}
	// Shutdown would wait 5 s for connections without a request, which browsers open in advance.
	silent.Range(func(connection, _ any) bool {
		connection.(net.Conn).Close()
		return true
	})
	limit, cancel := context.WithTimeout(context.Background(), Grace)
	defer cancel()
	// Shutdown closes the listener, and does not call shutdown(2) on it: the next run may share it.
	if err := server.Shutdown(limit); err != nil {
		fmt.Fprintln(os.Stderr, "stopped: the grace period is over, and open connections were cut")
		server.Close()
	}
	return nil
}

// listen takes the listener of the host, or opens one on 127.0.0.1.
func listen() (net.Listener, error) {
	if !environment.inherited {
		port := environment.port
		if port == "" {
			port = "0"
		}
		return net.Listen("tcp4", "127.0.0.1:"+port)
	}
	// Fails if the descriptor cannot listen. Connections made between two runs wait in this queue.
	if err := syscall.Listen(3, 1024); err != nil {
		return nil, fmt.Errorf("descriptor 3 (LISTEN_FDS) does not listen: %w", err)
	}
	file := os.NewFile(3, "http")
	listener, err := net.FileListener(file)
	file.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot use the listener of the host (LISTEN_FDS): %w", err)
	}
	switch listener := listener.(type) {
	case *net.TCPListener:
		if bound := listener.Addr().(*net.TCPAddr); !bound.IP.Equal(net.IPv4(127, 0, 0, 1)) {
			return nil, fmt.Errorf("the listener of LISTEN_FDS is bound to %s: a sidecar listens on 127.0.0.1 only", bound)
		}
		return listener, nil
	case *net.UnixListener:
		// The path belongs to the host.
		listener.SetUnlinkOnClose(false)
		return listener, nil
	default:
		return nil, errors.New("the listener of LISTEN_FDS is neither a TCP nor a Unix domain socket")
	}
}

// watch sends the cause of the stop: a signal, or the end of stdin, which the host holds open while it lives.
func watch() <-chan string {
	asked := make(chan string, 2)
	var hostAsked atomic.Bool
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		asked <- (<-signals).String()
		for second := range signals {
			// A host that has asked gives the process its time, and a wrapper that passes signals on makes two of one.
			if !hostAsked.Load() {
				os.Exit(128 + int(second.(syscall.Signal)))
			}
		}
	}()
	// A terminal, a file and /dev/null end for other reasons than the death of the host.
	if stdin, err := os.Stdin.Stat(); err == nil && stdin.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0 {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			hostAsked.Store(true)
			asked <- "the host closed stdin"
		}()
	}
	return asked
}

// gate checks each request before the handler sees it (docs/protocol.md, rule 5).
type gate struct {
	app     string
	handler http.Handler
	// names are the accepted values of Host, and local is the one that proofs are made with.
	names []string
	local string
}

func (gate *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	if r.Host == "" {
		refuse(w, http.StatusBadRequest, "a request to this server needs a Host header")
		return
	}
	// Go replaces Host by the authority of an absolute target, so that its own value is lost: refuse such targets.
	if !gate.isOurs(r.Host) || !strings.HasPrefix(r.RequestURI, "/") && r.RequestURI != "*" {
		refuse(w, http.StatusForbidden, "the request names another server")
		return
	}
	origins := r.Header.Values("Origin")
	if len(origins) > 1 || len(origins) == 1 && !environment.origins[origins[0]] {
		refuse(w, http.StatusForbidden, "this server does not serve pages of that origin")
		return
	}
	header.Add("Vary", "Origin")
	if len(origins) == 1 {
		header.Set("Access-Control-Allow-Origin", origins[0])
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(header, r.Header)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	isHealth := path == "/health" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	switch allowed := environment.token == "" || carriesToken(r); {
	case isHealth && allowed:
		gate.health(w)
	case isHealth:
		gate.alive(w, r)
	case allowed:
		if hideToken(r) {
			w = &upgrade{ResponseWriter: w}
		}
		gate.handler.ServeHTTP(w, r)
	default:
		header.Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "this server needs the token of its run as a bearer token")
	}
}

func (gate *gate) isOurs(host string) bool {
	for _, name := range gate.names {
		if strings.EqualFold(name, host) {
			return true
		}
	}
	return false
}

func refuse(w http.ResponseWriter, status int, text string) {
	// A client without the token must not hold a connection.
	w.Header().Set("Connection", "close")
	http.Error(w, text, status)
}

// preflight allows every method and header, because the handler decides what it accepts.
func preflight(answer, asked http.Header) {
	answer.Set("Access-Control-Max-Age", "7200")
	answer.Set("Access-Control-Allow-Methods", asked.Get("Access-Control-Request-Method"))
	if headers := asked.Values("Access-Control-Request-Headers"); len(headers) > 0 {
		answer.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
	}
	if asked.Get("Access-Control-Request-Private-Network") == "true" {
		answer.Set("Access-Control-Allow-Private-Network", "true")
	}
}

func isToken(presented string) bool {
	return subtle.ConstantTimeCompare([]byte(presented), []byte(environment.token)) == 1
}

func carriesToken(r *http.Request) bool {
	if values := r.Header.Values("Authorization"); len(values) == 1 {
		if bearer := bearerForm.FindStringSubmatch(values[0]); bearer != nil && isToken(bearer[1]) {
			return true
		}
	}
	upgrades, offered := r.Header.Values("Upgrade"), r.Header.Values(protocolHeader)
	if len(upgrades) != 1 || !strings.EqualFold(upgrades[0], "websocket") || len(offered) != 1 {
		return false
	}
	for _, offer := range elements(offered) {
		if strings.HasPrefix(offer, "pillion.bearer.") && isToken(strings.TrimPrefix(offer, "pillion.bearer.")) {
			return true
		}
	}
	return false
}

// elements returns the elements of comma-separated lines (RFC 9110, section 5.6.1).
func elements(lines []string) []string {
	var all []string
	for _, element := range strings.Split(strings.Join(lines, ","), ",") {
		if element = strings.Trim(element, " \t"); element != "" {
			all = append(all, element)
		}
	}
	return all
}

// hideToken removes the token from a request, so that no handler can log it. It returns whether the answer has to choose the
// subprotocol `pillion` if the handler chooses none.
func hideToken(r *http.Request) bool {
	r.Header.Del("Proxy-Authorization")
	if environment.token != "" {
		r.Header.Del("Authorization")
	}
	var own []string
	offersPillion := false
	for _, offer := range elements(r.Header.Values(protocolHeader)) {
		if offer == "pillion" {
			offersPillion = true
		} else if !strings.Contains(offer, "pillion.bearer.") {
			own = append(own, offer)
		}
	}
	r.Header.Del(protocolHeader)
	if len(own) > 0 {
		r.Header.Set(protocolHeader, strings.Join(own, ", "))
	}
	return offersPillion
}

// upgrade answers with the subprotocol `pillion` if the handler of a WebSocket chooses none: a browser fails a connection whose
// server chooses none of the offered subprotocols. Libraries answer in two ways: by WriteHeader, or on the hijacked connection.
type upgrade struct{ http.ResponseWriter }

func (w *upgrade) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *upgrade) Flush() {
	if flusher, ok := w.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

func (w *upgrade) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols && w.Header().Get(protocolHeader) == "" {
		w.Header().Set(protocolHeader, "pillion")
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	hijacker, ok := w.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("this connection cannot be hijacked")
	}
	connection, buffer, err := hijacker.Hijack()
	if err == nil {
		connection = &upgraded{Conn: connection}
		buffer.Writer.Reset(connection)
	}
	return connection, buffer, err
}

// upgraded adds the header to the answer that a library writes itself.
type upgraded struct {
	net.Conn
	answered bool
}

func (c *upgraded) Write(data []byte) (int, error) {
	head, _, found := bytes.Cut(data, []byte("\r\n\r\n"))
	first := !c.answered
	c.answered = true
	isAnswer := first && found && bytes.HasPrefix(head, []byte("HTTP/1.1 101 "))
	if !isAnswer || bytes.Contains(bytes.ToLower(head), []byte("\nsec-websocket-protocol:")) {
		return c.Conn.Write(data)
	}
	header := []byte("\r\n" + protocolHeader + ": pillion")
	answer := append(append(append([]byte{}, head...), header...), data[len(head):]...)
	if _, err := c.Conn.Write(answer); err != nil {
		return 0, err
	}
	return len(data), nil
}

// alive answers a health request without the token: only that the sidecar is alive, and the proof that it holds the token.
func (gate *gate) alive(w http.ResponseWriter, r *http.Request) {
	if challenges := r.Header.Values("Pillion-Challenge"); len(challenges) == 1 && nonceForm.MatchString(challenges[0]) {
		proof := hmac.New(sha256.New, []byte(environment.token))
		fmt.Fprintf(proof, "pillion-health %s %s", gate.local, challenges[0])
		w.Header().Set("Pillion-Proof", hex.EncodeToString(proof.Sum(nil)))
	}
	writeJSON(w, map[string]any{"status": "ok"})
}

func (gate *gate) health(w http.ResponseWriter) {
	health := map[string]any{
		"status":           "ok",
		"app":              gate.app,
		"timestamp":        time.Now().UnixMilli(),
		"uptime":           time.Since(started).Seconds(),
		"pillion_protocol": protocol,
	}
	if Version != "" {
		health["version"] = Version
	}
	if environment.instance != "" {
		health["instance"] = environment.instance
	}
	writeJSON(w, health)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body, _ := json.Marshal(value)
	w.Write(body)
}
