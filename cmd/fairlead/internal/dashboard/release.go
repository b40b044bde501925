package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	maxForm        = 16 << 10
	formTimeout    = 20 * time.Second // to be sent
	releaseTimeout = 10 * time.Second // for the owner to let go
)

// releaseBody is the body of the page that asks.
type releaseBody struct {
	Name, Token, Reason string
	Force               bool
	Code                string // that a POST must bring, and only this page has
	Entry               entry
	Kind                string
	Holds               bool
	Waiting             int
	Wrong               string // what was wrong with what was typed
}

// code is what the form for one entry carries: other sites cannot read it, and other
// visitors have another one.
func (h *Handler) code(visitor, name, token string) string {
	return h.access.sign("release", visitor, name, token)
}

func (h *Handler) releaseForm(w http.ResponseWriter, r *http.Request) {
	h.ask(w, r, releaseBody{Name: r.FormValue("name"), Token: r.FormValue("token")}, http.StatusOK)
}

// ask shows whom it concerns, and asks for the name.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, body releaseBody, status int) {
	token, err := strconv.ParseUint(body.Token, 10, 64)
	if err != nil {
		h.refuse(w, http.StatusBadRequest, "Nothing to release", fmt.Errorf("the token %q is no number", body.Token))
		return
	}
	if _, err := h.nameOf(r); err != nil {
		h.refuse(w, statusOf(err), "Nothing to release", err)
		return
	}
	limited, cancel := context.WithTimeout(r.Context(), listTimeout)
	defer cancel()
	q, err := watch.Read(limited, h.board.s, body.Name)
	if err != nil {
		h.refuse(w, http.StatusBadGateway, "The store does not answer", err)
		return
	}
	concerns := func(e watch.Entry) bool { return e.Token == token }
	entries := slices.Concat(q.Holders, q.Waiters)
	i := slices.IndexFunc(entries, concerns)
	if i < 0 {
		h.serve(w, http.StatusNotFound, "message", page{Title: "Nothing to release", Body: messageBody{
			Text: fmt.Sprintf("Nobody is in the queue with the token %d any more.", token), Name: body.Name,
		}})
		return
	}
	visitor, _ := h.access.visitor(r)
	body.Code, body.Entry, body.Kind = h.code(visitor, body.Name, body.Token), h.entry(q, entries[i]), q.Kind
	body.Holds, body.Waiting = i < len(q.Holders), len(q.Waiters)
	h.serve(w, status, "release", page{Title: "Release " + body.Name, Body: body})
}

// short bounds the body that a request has, and how long it may take to come.
func short(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTimeout)) // fails where there is no connection
}

// release breaks what has that token under that name, and nothing else.
func (h *Handler) release(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		h.refuse(w, http.StatusBadRequest, "Nothing was released", err)
		return
	}
	body := releaseBody{
		Name: r.PostForm.Get("name"), Token: r.PostForm.Get("token"), Reason: r.PostForm.Get("reason"), Force: r.PostForm.Get("force") != "",
	}
	visitor, _ := h.access.visitor(r)
	if !h.access.signed(r.PostForm.Get("code"), "release", visitor, body.Name, body.Token) {
		h.refuse(w, http.StatusForbidden, "Nothing was released", errors.New("the form is not from this page, or is older than this program: open it again"))
		return
	}
	// What cannot be typed is shown escaped, and may be typed as shown.
	if typed := r.PostForm.Get("typed"); typed != body.Name && typed != view.Escape(body.Name) {
		body.Wrong = "What was typed is not the name. Nothing was released."
		h.ask(w, r, body, http.StatusUnprocessableEntity)
		return
	}
	token, _ := strconv.ParseUint(body.Token, 10, 64) // the code is for a number alone: ask saw to that
	status, answer := h.breakIt(r, body, token)
	h.serve(w, status, "message", page{Title: answer.title, Body: messageBody{Good: status == http.StatusOK, Text: answer.text, Name: body.Name}})
}

type outcome struct{ title, text string }

func (h *Handler) breakIt(r *http.Request, body releaseBody, token uint64) (int, outcome) {
	ctx, cancel := context.WithTimeout(r.Context(), releaseTimeout)
	defer cancel()
	err := h.board.s.Break(ctx, body.Name, token, &session.BreakOptions{By: h.opts.Operator, Reason: body.Reason, Force: body.Force})
	h.opts.Logger.Info("release", "name", body.Name, "token", token, "force", body.Force, "reason", body.Reason, "from", r.RemoteAddr, "error", err)
	switch {
	case err == nil:
		return http.StatusOK, outcome{"Released", fmt.Sprintf("Token %d is no longer in the queue.", token)}
	case errors.Is(err, session.ErrNotHeld):
		return http.StatusConflict, outcome{"Nothing was released", err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, outcome{"Not yet released", fmt.Sprintf(
			"The owner of token %d was asked to let go, or the store did not answer; after %v it is still there. It may yet let go. "+
				"If it is dead, its lease runs out.", token, releaseTimeout)}
	case errors.Is(err, context.Canceled), errors.Is(err, session.ErrClosed):
		return http.StatusServiceUnavailable, outcome{"Not yet released", fmt.Sprintf(
			"The dashboard was ended meanwhile. The owner of token %d may have been asked to let go, and may yet do so.", token)}
	}
	return http.StatusBadGateway, outcome{"It could not be released", err.Error()}
}
