package wechat

import (
	"fmt"
	"log/slog"

	"scanrelay/configs/secret"
)

// Notification is the body of pathnotify (wechat/README.md, pathnotify). Fields stand
// in the order of WeChat's own sample; its bytes are reproduced by a test.
// create_time is always sent, although that sample leaves it out.
//
// It is full of personal data: printed, it shows the action only.
type Notification struct {
	Path       Node   `json:"path"`
	Receiver   Party  `json:"receiver"`
	Sender     Party  `json:"sender"`
	WaybillID  string `json:"waybill_id"`
	CreateTime int64  `json:"create_time"` // when the waybill was made, unix seconds
}

// Party is a sender or receiver. WeChat's table wants name and phone of both,
// its note only of the receiver: the keys are always sent, a sender's may be
// empty. Street, Address and ID are optional.
type Party struct {
	Area     string `json:"area"`
	Address  string `json:"address,omitempty"`
	Province string `json:"province"`
	City     string `json:"city"`
	Phone    string `json:"phone"`
	Name     string `json:"name"`
	Street   string `json:"street,omitempty"`
	ID       string `json:"id,omitempty"`
}

// Node is one node of a waybill's path. The courier fields are set once a
// courier is known and sent empty before, as WeChat's sample does.
type Node struct {
	ActionTime           int64  `json:"action_time"` // unix seconds
	ActionType           int    `json:"action_type"`
	ActionMsg            string `json:"action_msg"`
	PickupCourierName    string `json:"pickup_courier_name"`
	PickupCourierPhone   string `json:"pickup_courier_phone"`
	DeliveryCourierName  string `json:"delivery_courier_name"`
	DeliveryCourierPhone string `json:"delivery_courier_phone"`
}

// Format prints the action and its time only, under every verb.
func (n Notification) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "notification of %v", n.Path) }

// LogValue logs the action and its time only.
func (n Notification) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(n)) }

// Format prints nothing about the person, under every verb.
func (p Party) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secret.Masked)) }

// LogValue logs nothing about the person.
func (p Party) LogValue() slog.Value { return slog.StringValue(secret.Masked) }

// Format prints the action and its time only, under every verb.
func (n Node) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "action %d at %d", n.ActionType, n.ActionTime)
}

// LogValue logs the action and its time only.
func (n Node) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(n)) }
