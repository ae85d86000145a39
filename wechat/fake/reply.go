package fake

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// readReply reads the carrier's answer to a lookup as strictly as
// wechat/README.md, Reply, allows. An error says what in its form is wrong.
func (s *Server) readReply(nonce string, body []byte, asked []field) (Reply, error) {
	f := s.o.Format
	if len(body) == 0 {
		return Reply{}, errors.New("the reply is empty")
	}
	if s.o.Mode != Plain {
		opened, err := s.openReply(f, nonce, body)
		if err != nil {
			return Reply{}, err
		}
		body = opened
	}
	fields, err := readFields(f, body)
	if err != nil {
		return Reply{}, fmt.Errorf("the reply: %w", err)
	}
	if err := checkEcho(fields, asked, s.o.KeepNames); err != nil {
		return Reply{}, err
	}
	r := Reply{ResultCode: int(fields.number("ResultCode")), ResultMsg: fields.must("ResultMsg"), CreateTime: fields.number("WaybillCreateTime")}
	for _, n := range fields.list("Path") {
		r.Path = append(r.Path, readNode(n))
	}
	if w := fields.wrong(); w != "" {
		return Reply{}, fmt.Errorf("the reply: %s", w)
	}
	return r, checkResult(r)
}

func checkResult(r Reply) error {
	if r.ResultCode == 0 {
		return nil
	}
	if len(r.Path) > 0 || r.CreateTime != 0 {
		return fmt.Errorf("the reply: ResultCode %d comes with waybill data", r.ResultCode)
	}
	return fmt.Errorf("the reply: ResultCode %d: %s", r.ResultCode, r.ResultMsg)
}

// checkEcho checks what the reply repeats of the question.
func checkEcho(reply object, asked []field, keepNames bool) error {
	want := map[string]string{}
	for _, f := range asked {
		want[f.name] = f.text
	}
	if !keepNames {
		want["ToUserName"], want["FromUserName"] = want["FromUserName"], want["ToUserName"]
	}
	for _, name := range []string{"ToUserName", "FromUserName", "MsgType", "Event"} {
		if got := reply.must(name); got != want[name] {
			return fmt.Errorf("the reply: %s is %q, want %q", name, got, want[name])
		}
	}
	if t := reply.number("CreateTime"); reply.wrong() == "" && (t < firstSecond || t > lastSecond) {
		return fmt.Errorf("the reply: CreateTime %d is no time in unix seconds", t)
	}
	return nil
}

func readNode(f object) Node {
	return Node{
		ActionTime: f.number("ActionTime"), ActionType: int(f.number("ActionType")), ActionMsg: f.must("ActionMsg"),
		PickupCourierName: f.text("PickupCourierName"), PickupCourierPhone: f.text("PickupCourierPhone"),
		DeliveryCourierName: f.text("DeliveryCourierName"), DeliveryCourierPhone: f.text("DeliveryCourierPhone"),
	}
}

// openReply checks and decrypts an encrypted reply.
func (s *Server) openReply(f Format, nonce string, body []byte) ([]byte, error) {
	fields, err := readFields(f, body)
	if err != nil {
		return nil, fmt.Errorf("the encrypted reply: %w", err)
	}
	encrypted, signature, echoed := fields.must("Encrypt"), fields.must("MsgSignature"), fields.must("Nonce")
	timestamp := strconv.FormatInt(fields.number("TimeStamp"), 10)
	if w := fields.wrong(); w != "" {
		return nil, fmt.Errorf("the encrypted reply: %s", w)
	}
	if echoed != nonce {
		return nil, errors.New("the encrypted reply: Nonce is not the URL's")
	}
	if signature != signParts(s.crypt.token, timestamp, nonce, encrypted) {
		return nil, errors.New("the encrypted reply: MsgSignature is wrong")
	}
	msg, err := s.crypt.open(encrypted)
	if err != nil {
		return nil, fmt.Errorf("the encrypted reply: %w", err)
	}
	return msg, nil
}

// signParts is wechat/README.md's Signature, in own code.
func signParts(parts ...string) string {
	parts = slices.Clone(parts)
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// looseKey decodes an EncodingAESKey whose last character may carry stray bits.
func looseKey(s string) ([]byte, error) {
	key, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(key) != 32 {
		return nil, errors.New("the EncodingAESKey is not 43 characters of base64")
	}
	return key, nil
}

// open decrypts: AES-256-CBC, padding in blocks of 32, then random(16),
// length(4), message, appid.
func (c *crypt) open(b64 string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil || len(data) == 0 || len(data)%32 != 0 {
		return nil, errors.New("the field Encrypt is no base64 of whole blocks of 32")
	}
	block, err := aes.NewCipher(c.key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	cipher.NewCBCDecrypter(block, c.key[:16]).CryptBlocks(data, data)
	padding := int(data[len(data)-1])
	if padding < 1 || padding > 32 || len(data)-padding < 20 {
		return nil, errors.New("the padding is wrong")
	}
	for _, b := range data[len(data)-padding:] {
		if int(b) != padding {
			return nil, errors.New("the padding is wrong")
		}
	}
	rest := data[20 : len(data)-padding]
	size := uint64(binary.BigEndian.Uint32(data[16:20]))
	if size > uint64(len(rest)) || string(rest[size:]) != c.appid {
		return nil, errors.New("the length or the appid inside is wrong")
	}
	return rest[:size], nil
}
