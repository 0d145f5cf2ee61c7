// An S3 server over a directory, with one account: versitygw's API and its storage in files, to be
// compiled without the clients of clouds that versitygw's own program links.
package main

import (
	"errors"
	"flag"
	"log"
	"os"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

func main() {
	address := flag.String("address", "127.0.0.1:9000", "where it listens")
	region := flag.String("region", "us-east-1", "what requests must be signed for")
	attributes := flag.String("attributes", "", "the directory for what files cannot hold: ETags, metadata, uploads")
	flag.Parse()
	if flag.NArg() != 1 || *attributes == "" {
		log.Fatal("usage: s3 -attributes DIRECTORY [-address HOST:PORT] [-region REGION] DIRECTORY")
	}
	if err := serve(*address, *region, *attributes, flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

// serve answers until it fails; the account's keys come from the environment, as AWS's own tools take them.
func serve(address, region, attributes, directory string) error {
	account := auth.Account{
		Access: os.Getenv("AWS_ACCESS_KEY_ID"),
		Secret: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		Role:   auth.RoleAdmin,
	}
	if account.Access == "" || account.Secret == "" {
		return errors.New("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the keys of its one account")
	}
	store, err := meta.NewSideCar(attributes)
	if err != nil {
		return err
	}
	files, err := posix.New(directory, store, posix.PosixOpts{SideCarDir: attributes})
	if err != nil {
		return err
	}
	server, err := s3api.New(
		files,
		middlewares.RootUserConfig{Access: account.Access, Secret: account.Secret},
		region,
		auth.NewIAMServiceSingle(account),
		nil, nil, nil, nil,
		s3api.WithConcurrencyLimiter(1000, 1000), s3api.WithQuiet(), s3api.WithKeepAlive(),
	)
	if err != nil {
		return err
	}
	return server.ServeMultiPort([]string{address})
}
