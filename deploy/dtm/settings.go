package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"example.com/fourfold/chassis/env"
	"example.com/fourfold/chassis/mtls"
)

// settings are those that this main adds to DTM's own. README.md explains all of them.
type settings struct {
	recoveryWorkers int
	longestRetry    time.Duration
	storeTimeout    time.Duration
	keep            time.Duration
	migrate         login // STORE_USER's when empty
	tls             mtls.Config
}

// login is an account of the log's database.
type login struct{ user, password string }

// defaults returns our choice for each environment variable that is not set. HTTP_HOST, GRPC_HOST and STORE_TLS are read by the patch, the last
// four by load, all others by DTM.
func defaults() map[string]string {
	return map[string]string{
		"HTTP_HOST":            "127.0.0.1",
		"HTTP_PORT":            "16789",
		"GRPC_HOST":            "127.0.0.1",
		"GRPC_PORT":            "16790",
		"STORE_DRIVER":         "mysql",
		"STORE_HOST":           "127.0.0.1",
		"STORE_PORT":           "13306",
		"STORE_USER":           "root",
		"STORE_DB":             "shop_dtm",
		"STORE_TLS":            "false",
		"STORE_MAX_OPEN_CONNS": "50",
		"STORE_MAX_IDLE_CONNS": "50",
		"UPDATE_BRANCH_SYNC":   "1",
		"TRANS_CRON_INTERVAL":  "1",
		"RETRY_INTERVAL":       "10",
		"REQUEST_TIMEOUT":      "3",
		"LOG_LEVEL":            "error",

		"RECOVERY_WORKERS":   "8",
		"RETRY_INTERVAL_MAX": "10",
		"STORE_TIMEOUT":      "10",
		"KEEP_DAYS":          "30",
	}
}

// load puts the defaults into the environment, where DTM looks for them, and the password from the file that STORE_PASSWORD_FILE names, and
// returns our own settings. The error says which variable is wrong.
func load() (settings, error) {
	password, err := env.Get("STORE_PASSWORD")
	if err == nil {
		err = os.Setenv("STORE_PASSWORD", password)
	}
	migrate := login{user: os.Getenv("STORE_MIGRATE_USER")}
	if err == nil {
		migrate.password, err = env.Get("STORE_MIGRATE_PASSWORD")
	}
	if err == nil && migrate.user == "" && migrate.password != "" {
		err = errors.New("STORE_MIGRATE_PASSWORD is set, and STORE_MIGRATE_USER is not: set both, or none to migrate as STORE_USER")
	}
	if err != nil {
		return settings{}, err
	}
	numbers := map[string]int{}
	for name, value := range defaults() {
		if os.Getenv(name) == "" {
			if err := os.Setenv(name, value); err != nil {
				return settings{}, err
			}
		}
		if _, err := strconv.Atoi(value); err != nil {
			continue
		}
		n, err := strconv.Atoi(os.Getenv(name))
		if err != nil || n < 1 {
			return settings{}, fmt.Errorf("%s=%q: it must be a whole number from 1, like %s", name, os.Getenv(name), value)
		}
		numbers[name] = n
	}
	if driver := os.Getenv("STORE_DRIVER"); driver != "mysql" {
		return settings{}, fmt.Errorf("STORE_DRIVER=%q: only mysql is supported here, for MariaDB and MySQL", driver)
	}
	if ca := os.Getenv("MYSQL_CA"); ca != "" {
		if err := requireTLS(ca); err != nil {
			return settings{}, err
		}
	}
	return settings{
		recoveryWorkers: numbers["RECOVERY_WORKERS"],
		longestRetry:    time.Duration(numbers["RETRY_INTERVAL_MAX"]) * time.Second,
		storeTimeout:    time.Duration(numbers["STORE_TIMEOUT"]) * time.Second,
		keep:            time.Duration(numbers["KEEP_DAYS"]) * 24 * time.Hour,
		tls:             mtls.Config{Cert: os.Getenv("TLS_CERT"), Key: os.Getenv("TLS_KEY"), CA: os.Getenv("TLS_CA")},
		migrate:         migrate,
	}, nil
}
