// An OCI registry over a directory: distribution's API, its storage in files and its list of
// accounts, to be compiled without the clients of clouds that distribution's own program links.
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: registry CONFIGURATION")
	}
	log.Fatal(serve(os.Args[1]))
}

// serve answers until it fails, as distribution's configuration file says.
func serve(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	config, err := configuration.Parse(file)
	file.Close()
	if err != nil {
		return err
	}
	return http.ListenAndServe(config.HTTP.Addr, handlers.NewApp(context.Background(), config))
}
