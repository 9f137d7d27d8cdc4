package cluster

import "pushquorum/fsm"

// answers are the results of commands that are answered without an entry of the log, one for each command, nil for one
// that needs an entry. Nil answers: each command needs one.
type answers []*fsm.Result

// fullAnswers are what the limits refuse, of what [fsm.Admission] says of each command.
func fullAnswers(refused []fsm.Result) answers {
	if refused == nil {
		return nil
	}
	out := make(answers, len(refused))
	for i := range refused {
		if refused[i].Status == fsm.Full {
			out[i] = &refused[i]
		}
	}
	return out
}

// without returns the commands that have no answer.
func (a answers) without(commands [][]byte) [][]byte {
	if a == nil {
		return commands
	}
	var out [][]byte
	for i, c := range commands {
		if a[i] == nil {
			out = append(out, c)
		}
	}
	return out
}

// among puts the results of the commands that were applied between the answers, in the order of all commands.
func (a answers) among(applied []fsm.Result) []fsm.Result {
	if a == nil {
		return applied
	}
	out := make([]fsm.Result, len(a))
	for i, answer := range a {
		if answer != nil {
			out[i] = *answer
		} else {
			out[i], applied = applied[0], applied[1:]
		}
	}
	return out
}

// isRefusal tells whether a status is the leader's refusal of a command, which is then not in the log.
func isRefusal(s fsm.Status) bool { return s == fsm.Full || s == fsm.NoSpace }
