// A server as the documentation of net/http shows it, with a graceful stop.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Hello from a stranger")
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT")}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	<-stop.Done()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	log.Print("stopped")
}
