// Package wire puts package scan's types into WeChat's. Here, and only here, the
// two meet: a node that is pushed and the same node in the answer to WeChat's
// reverse lookup are made by one function, so that they cannot differ.
package wire
