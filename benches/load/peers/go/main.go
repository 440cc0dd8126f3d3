// A hand-off with what Go brings along. Its url.Parse follows RFC 3986 and not what browsers do, so nothing is
// normalised but the case of the host.
//
// handoff PORT HOSTS: HOSTS is a file with a host a line.
package main

import (
	"bufio"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// The hosts that visitors may be sent to.
type allowList map[string]bool

func main() {
	listed, err := read(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	routes := http.NewServeMux()
	routes.Handle("/go", listed)
	server := http.Server{
		Addr:              "127.0.0.1:" + os.Args[1],
		Handler:           routes,
		IdleTimeout:       75 * time.Second,
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}

func read(name string) (allowList, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	listed := allowList{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		listed[lines.Text()] = true
	}
	return listed, lines.Err()
}

func (listed allowList) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	answer.Header().Set("Cache-Control", "no-store")
	target, err := url.Parse(request.URL.Query().Get("to"))
	if err != nil || target.User != nil || (target.Scheme != "https" && target.Scheme != "http") {
		answer.WriteHeader(http.StatusBadRequest)
		return
	}
	target.Host = strings.ToLower(target.Host)
	if !listed[target.Hostname()] {
		answer.WriteHeader(http.StatusForbidden)
		return
	}
	if target.Path == "" {
		target.Path = "/"
	}
	if known := identity(request); known != "" {
		if target.RawQuery != "" {
			target.RawQuery += "&"
		}
		target.RawQuery += "kmi=" + url.QueryEscape(known)
	}
	answer.Header().Set("Location", target.String())
	answer.WriteHeader(http.StatusFound)
}

func identity(request *http.Request) string {
	for _, name := range []string{"km_ni", "km_ai"} {
		cookie, err := request.Cookie(name)
		if err != nil {
			continue
		}
		if value, err := url.PathUnescape(cookie.Value); err == nil && value != "" {
			return value
		}
	}
	return ""
}
