package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/silenceper/wechat/v2/util"

	"scanrelay/wechat/callback"
)

const (
	appid  = "wx1234567890abcdef"
	aesKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	rounds = 3 // of each; the middle one is printed
)

// library is one implementation of the encryption.
type library struct {
	name    string
	encrypt func(msg []byte) (string, error)
	decrypt func(encrypted string) ([]byte, error)
}

var random = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func ours() (library, error) {
	c, err := callback.NewCrypt("token", aesKey, appid)
	if err != nil {
		return library{}, err
	}
	return library{
		name:    "scanrelay",
		encrypt: func(msg []byte) (string, error) { return c.Encrypt(random, msg), nil },
		decrypt: c.Decrypt,
	}, nil
}

func theirs() library {
	return library{
		name: "silenceper/wechat v2.1.10",
		encrypt: func(msg []byte) (string, error) {
			encrypted, err := util.EncryptMsg(random[:], msg, appid, aesKey)
			return string(encrypted), err
		},
		decrypt: func(encrypted string) ([]byte, error) {
			_, msg, err := util.DecryptMsg(appid, encrypted, aesKey)
			return msg, err
		},
	}
}

// messages are a reverse lookup and the answer with a path of 12 nodes.
func messages() map[string][]byte {
	node := `{"ActionTime":1713424427,"ActionType":200001,"ActionMsg":"快件到达 【杭州转运中心】"},`
	return map[string][]byte{
		"question": []byte(`{"ToUserName":"gh_97417a04a28d","FromUserName":"o9AgO5Kd5ggOC-bXrbNODIiE3bGY","CreateTime":1713424427,"MsgType":"event","Event":"waybill_notify_query","WaybillId":"YT1234567890123","SenderPhone":"13800138001","ReceiverPhone":"13800138000"}`),
		"answer": []byte(`{"ToUserName":"o9AgO5Kd5ggOC-bXrbNODIiE3bGY","FromUserName":"gh_97417a04a28d","CreateTime":1713424427,"MsgType":"event","Event":"waybill_notify_query","ResultCode":0,"ResultMsg":"OK","WaybillCreateTime":1713400000,"Path":[` +
			strings.TrimSuffix(strings.Repeat(node, 12), ",") + `]}`),
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "crypt:", err)
		os.Exit(1)
	}
}

func run() error {
	mine, err := ours()
	if err != nil {
		return err
	}
	both := []library{mine, theirs()}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "message\t\tlibrary\tns\tbytes allocated\tallocations")
	fmt.Fprintln(w, "-------\t\t-------\t--\t---------------\t-----------")
	for _, name := range []string{"question", "answer"} {
		msg := messages()[name]
		if err := agree(both, msg); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		what := fmt.Sprintf("%s, %d B", name, len(msg))
		line(w, what, "decrypt", both, func(l library) func(*testing.B) { return decrypting(l, msg) })
		line(w, what, "encrypt", both, func(l library) func(*testing.B) { return encrypting(l, msg) })
	}
	return w.Flush()
}

// agree lets each library read what each wrote.
func agree(both []library, msg []byte) error {
	for _, writer := range both {
		encrypted, err := writer.encrypt(msg)
		if err != nil {
			return fmt.Errorf("encrypt with %s: %w", writer.name, err)
		}
		for _, reader := range both {
			got, err := reader.decrypt(encrypted)
			if err == nil && !bytes.Equal(got, msg) {
				err = errors.New("another message came out")
			}
			if err != nil {
				return fmt.Errorf("%s reads what %s wrote: %w", reader.name, writer.name, err)
			}
		}
	}
	return nil
}

// line measures both libraries in turns and prints the middle round of each.
func line(w *tabwriter.Writer, what, does string, both []library, bench func(library) func(*testing.B)) {
	results := make([][]testing.BenchmarkResult, len(both))
	for range rounds {
		for i, l := range both {
			results[i] = append(results[i], testing.Benchmark(bench(l)))
		}
	}
	for i, l := range both {
		slices.SortFunc(results[i], func(a, b testing.BenchmarkResult) int { return int(a.NsPerOp() - b.NsPerOp()) })
		r := results[i][rounds/2]
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\n", what, does, l.name, r.NsPerOp(), r.AllocedBytesPerOp(), r.AllocsPerOp())
	}
}

func encrypting(l library, msg []byte) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.encrypt(msg); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func decrypting(l library, msg []byte) func(*testing.B) {
	return func(b *testing.B) {
		encrypted, err := l.encrypt(msg)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.decrypt(encrypted); err != nil {
				b.Fatal(err)
			}
		}
	}
}
