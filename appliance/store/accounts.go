package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
)

// accountsFile holds the accounts a second time, sealed like a record: a header line with the generation, the accounts
// as JSON, the checksum. The generation grows with every change, so that of two copies the newer one is known.
const accountsFile = "access.json"

type accountsHeader struct {
	Generation uint64 `json:"generation"`
}

func (s *Store) accountsPath() string { return filepath.Join(s.dir, accountsFile) }

// publishAccounts counts a change of the accounts and writes them to the plain file.
func (s *Store) publishAccounts(a *AccessTx) error {
	generation, err := a.generation()
	if err != nil {
		return err
	}
	if err := a.setGeneration(generation + 1); err != nil {
		return err
	}
	return s.writeAccounts(a)
}

func (s *Store) writeAccounts(a *AccessTx) error {
	accounts, err := a.Accounts()
	if err != nil {
		return err
	}
	generation, err := a.generation()
	if err != nil {
		return err
	}
	document, err := json.MarshalIndent(accounts, "", "  ") //nolint:gosec // this file is where the password hashes are kept
	if err != nil {
		return err
	}
	record, err := seal(accountsHeader{generation}, document)
	if err != nil {
		return err
	}
	if err := s.files.replace(s.accountsPath(), record); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	return nil
}

// readAccounts reads the plain file; generation 0 when there is none.
func (s *Store) readAccounts() (generation uint64, accounts []Account, err error) {
	record, err := os.ReadFile(s.accountsPath())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read accounts: %w", err)
	}
	var h accountsHeader
	document, err := unseal(record, &h)
	if err == nil {
		err = json.Unmarshal(document, &accounts)
	}
	if err != nil {
		return 0, nil, &Damage{fmt.Sprintf("%s: %v", accountsFile, err)}
	}
	return h.Generation, accounts, nil
}

// reconcileAccounts lets the newer of the two copies be both.
func (s *Store) reconcileAccounts(report *Report) error {
	var stored uint64
	err := s.ViewAccess(func(a *AccessTx) (err error) { stored, err = a.generation(); return err })
	if err != nil {
		return err
	}
	generation, accounts, err := s.readAccounts()
	if _, damaged := errors.AsType[*Damage](err); damaged {
		return s.replaceAccountsFile(stored, report)
	}
	switch {
	case err != nil:
		return err
	case generation > stored:
		report.Accounts = len(accounts)
		return s.adoptAccounts(generation, accounts)
	case generation < stored:
		return s.ViewAccess(s.writeAccounts)
	}
	return nil
}

// replaceAccountsFile deals with a damaged plain file. When bbolt has never had accounts, it was the only copy: it is
// moved aside for whoever can read it, and the box can be claimed again by whoever is at its console.
func (s *Store) replaceAccountsFile(stored uint64, report *Report) error {
	if stored > 0 {
		return s.ViewAccess(s.writeAccounts)
	}
	report.AccountsLost = freeName(s.accountsPath() + ".corrupt-" + time.Now().UTC().Format("20060102T150405Z"))
	if err := s.files.rename(s.accountsPath(), report.AccountsLost); err != nil {
		return fmt.Errorf("move damaged accounts aside: %w", err)
	}
	return nil
}

// adoptAccounts makes the accounts of the plain file those of bbolt.
func (s *Store) adoptAccounts(generation uint64, accounts []Account) error {
	err := s.update(func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket(bucketAccounts); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bucketAccounts); err != nil {
			return err
		}
		a := &AccessTx{tx: tx}
		for _, account := range accounts {
			if err := a.PutAccount(account); err != nil {
				return err
			}
		}
		return a.setGeneration(generation)
	})
	if err != nil {
		return fmt.Errorf("adopt accounts: %w", err)
	}
	return nil
}

func (a *AccessTx) generation() (uint64, error) {
	value := a.tx.Bucket(bucketMeta).Get(keyAccounts)
	if value == nil {
		return 0, nil
	}
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read generation of the accounts: %w", err)
	}
	return n, nil
}

func (a *AccessTx) setGeneration(n uint64) error {
	return a.tx.Bucket(bucketMeta).Put(keyAccounts, strconv.AppendUint(nil, n, 10))
}
