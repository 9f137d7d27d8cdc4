// Package local starts processes on this machine for the programs that measure and attack them: on ports of 127.0.0.1,
// with what they write in a file, and never longer than the program that started them.
package local
