/*
 * The semaphore's queue: weighted permits, in order of joining, on a store that
 * keeps a queue of entries and a record with the limit. scripts/check-models
 * checks this file with Spin in several configurations, and with each BUG_* below.
 *
 * In Go, member() is Acquire with all that follows until its entry is gone. look()
 * is Permit of watch/rule.go, called on one view by Turn; what it leaves in on[]
 * are the obstacles that it returns, and woken is the return of a wait for them.
 * resizer() is SetLimit of package watch.
 *
 *  - An entry is granted when it is stamped, when its token is covered by the
 *    watermark in the limit record, or when the weights of the queue up to and
 *    including it fit the limit. It is one's turn when one's own entry is.
 *  - Who waits while all ahead are granted is the head: it waits until any of them
 *    leaves or changes, or the record does. Everybody else waits until the nearest
 *    entry ahead that is not granted leaves or changes. Mostly that is the
 *    predecessor, but not always: BUG_PREDECESSOR.
 *  - Who is granted in the view that the join itself returned needs no stamp, since
 *    everybody behind sees the same, unless the record in that view has the flag.
 *    Who is granted so with the flag, or in a later view, stamps its entry, some
 *    time later: those who joined in between may wait for that. When the reply to a
 *    join is lost, any view is a later one: BUG_LATE_VIEW.
 *  - Each step of a resize reads queue and record at once, and then writes the
 *    record, if that is still the one that was read; if it is not, the resize starts
 *    anew. What becomes of the entries between read and write does not matter.
 *  - A larger limit takes one step, which leaves the watermark as it is. The flag it
 *    may leave or clear: in either case, who is about to make the limit smaller
 *    finds another record than it read, and starts anew.
 *  - A smaller limit takes two. The first sets the flag, and is left out where it is
 *    set. The second has read a record with the flag. It writes the new limit, a
 *    watermark over the first entries of the queue up to the first that was not
 *    granted under the old limit, and no flag. So who is let in without a stamp to
 *    come, under any limit, either joined before the flag was set, and was covered
 *    or has left as the limit shrank; or joined when it had shrunk. Whom the
 *    watermark does not cover, though its turn has come, is about to stamp.
 *  - A resize may crash between any two steps. A flag that it leaves behind costs
 *    stamps, until another resize clears it.
 *
 * FAULTS bounds how often something goes wrong: a crash, after which the entry
 * stays for any time and goes with its lease, while a stamp on its way may still
 * arrive; a join whose reply is lost; a look that nothing asked for, as after a
 * reconnection. To the others, a wait that is cancelled is a crash whose lease ends
 * at once. Assumed of the store: views are atomic, also that of a join, which shows
 * the record as it is in the moment in which the entry is made; and no token comes
 * twice, or is smaller than an earlier one, while there is a record.
 *
 * Properties, in every state:
 *
 *  - within: the weights held fit the limit that was in force when the last turn
 *    came. Without a resize that is the limit. A smaller limit takes nothing from
 *    those whose turn has come, and lets no other turn come until they fit it.
 *  - inturn: who holds had its turn: at some time all that were ahead of it, and
 *    itself, fitted the limit. So nobody overtakes.
 *  - awake: when all have looked, stamped and resized who were about to, nobody is
 *    asleep whose turn it is, whatever the holders do. The exception are those
 *    behind an entry whose owner had to wait, or joined under the flag, and crashed
 *    before its stamp: they may sleep until its lease ends. STRICT shows that they
 *    do.
 *  - owned: an entry has an owner that will remove it, or a lease that ends.
 *  - No deadlock: no invalid end state, in Spin's words.
 *
 * Result: they hold in all configurations of scripts/check-models, which have up to
 * 3.6 million states, and each bug breaks the property named there.
 */

#ifndef MEMBERS
#define MEMBERS 4 /* each makes one acquisition */
#endif
#ifndef LIMIT
#define LIMIT   2
#endif
#ifndef HEAVY
#define HEAVY   LIMIT /* weights are all mixes of 1 to HEAVY */
#endif
#ifndef FAULTS
#define FAULTS  1
#endif

#define bit(i)       (1 << (i))
#define has(mask, i) (((mask) >> (i)) & 1)
#define ANY          254 /* any entry ahead, or the limit record */
#define NONE         255

/* The store. Tokens are the members' numbers: members differ in nothing, so that
   they join in this order loses no run. */
byte queue;           /* the entries that are there */
byte stamped;
byte weight[MEMBERS];
byte joined;          /* the next token */
byte limit = LIMIT;   /* the record: the limit, */
byte through;         /* the watermark, which covers all tokens below, */
bool flag;            /* whether all stamp, also who is let in at once, */
byte version;         /* and how often it was written */

/* The members. Who waits or holds has an entry. */
byte waits, holds, dead;
byte on[MEMBERS];     /* what a waiter waits for; NONE: it has not looked yet */
byte woken;           /* what it waits for has happened, so it is about to look */
byte tostamp;         /* it is about to stamp */
byte resizing;        /* how many are between a read and the write that follows */
byte faults = FAULTS;

/* For the properties alone. */
byte due;             /* entries whose turn came at some time, */
byte allowed;         /* and the limit when one came last */
bool within, inturn, awake, owned;

hidden byte e, w, sum, held, last, pred, first, stale;

#define covered(e)   (has(stamped, e) || e < through)
#define GRANTED(e)   (covered(e) || sum <= limit) /* sum: up to and including e */

#ifdef BUG_OVERTAKE    /* a light request takes what the heavy one ahead cannot use */
#define TURN         (held + weight[me] <= limit)
#elif BUG_LAST_ONE     /* any free permit will do, whatever the own weight */
#define TURN         (covered(me) || sum - weight[me] < limit)
#else
#define TURN         GRANTED(me)
#endif

#ifdef BUG_ONE_HOLDER  /* the head waits for one holder: the one at position - limit, where all weigh 1 */
#define HEAD         first
#else
#define HEAD         ANY
#endif

#ifdef BUG_PREDECESSOR /* who is behind waits for its predecessor, even if that is granted and another ahead is not:
                          both were granted as the limit shrank, and the latter has no stamp yet */
#define BEHIND       pred
#else
#define BEHIND       last
#endif

#ifdef BUG_FLAG_IGNORED /* who is let in at once, and is not covered as the limit shrinks, never stamps */
#define ALL          false
#else
#define ALL          flag
#endif

#ifdef BUG_COVERED     /* whom the watermark covers does not stamp; those behind, who wait for that, sleep on */
#define UNTOLD       ((!joining || ALL) && me >= through)
#else
#define UNTOLD       (!joining || ALL)
#endif

#ifdef BUG_ONE_PHASE   /* who joins after the read may be let in at once, not covered, and never stamp */
#define READY        true
#elif BUG_FLAG_CLEARED /* the same, where another resize has cleared the flag before the second read */
#define READY        (flag || raised)
#else
#define READY        flag
#endif

#ifdef BUG_READ_BEFORE_FLAG /* the same, between the read and the flag */
#define RECKONS      (to < limit && !flag)
#else
#define RECKONS      (to < limit && READY)
#endif

#ifdef BUG_NO_GUARD    /* the same, where another resize has cleared the flag since the second read */
#define GUARD        true
#else
#define GUARD        (version == seen)
#endif

/* x left or changed, or, if x is ANY, the record did. */
inline wake(x) {
	w = 0;
	do
	:: w < MEMBERS ->
		if
		:: has(waits & ~dead, w) && (on[w] == x || (on[w] == ANY && x < w)) -> woken = woken | bit(w)
		:: else
		fi;
		w++
	:: else -> break
	od
}

/* Takes a view and applies the rule. */
inline look(me, joining) {
	woken = woken & ~bit(me);
	e = 0; sum = 0; held = 0; last = NONE; pred = NONE; first = NONE;
	do
	:: e < me ->
		if
		:: has(queue, e) ->
			sum = sum + weight[e];
			pred = e;
			first = (first == NONE -> e : first);
			if
			:: GRANTED(e) -> held = held + weight[e]
			:: else -> last = e
			fi
		:: else
		fi;
		e++
	:: else -> break
	od;
	sum = sum + weight[me];
	if
	:: TURN ->
		waits = waits & ~bit(me);
		holds = holds | bit(me);
#ifndef BUG_NO_STAMP
		tostamp = tostamp | (UNTOLD -> bit(me) : 0);
#endif
		on[me] = NONE
	:: else ->
		waits = waits | bit(me);
		on[me] = (last == NONE -> HEAD : BEHIND)
	fi
}

inline leave(me) {
	wake(me);
	queue = queue & ~bit(me);
	waits = waits & ~bit(me);
	holds = holds & ~bit(me);
	woken = woken & ~bit(me);
	due = due & ~bit(me);
	weight[me] = 0;
	on[me] = NONE
}

/* The stamp is guarded: of an entry that left it makes none. */
inline stamp(me) {
	tostamp = tostamp & ~bit(me);
#ifdef BUG_RECREATE
	weight[me] = (has(queue, me) -> weight[me] : 1);
	queue = queue | bit(me);
#endif
	if
	:: has(queue, me) -> wake(me); stamped = stamped | bit(me)
	:: else
	fi
}

#define QUIET (resizing == 0 && woken == 0 && (tostamp & holds & ~dead) == 0)

/* Ends each step. */
inline check() {
	d_step {
		e = 0; sum = 0; held = 0; stale = 0; awake = true;
		do
		:: e < MEMBERS ->
			if
			:: has(queue, e) ->
				sum = sum + weight[e];
				held = held + has(holds, e) * weight[e];
				if
				:: sum <= limit && !has(due, e) -> due = due | bit(e); allowed = limit
				:: else
				fi;
#ifndef STRICT
				stale = stale | has(dead & (waits | tostamp), e);
#endif
				awake = awake && !(QUIET && !stale && has(waits & ~dead, e) && GRANTED(e))
			:: else
			fi;
			e++
		:: else -> break
		od;
		within = (held <= allowed);
		inturn = ((holds & ~due) == 0);
		owned = ((queue & ~(waits | holds)) == 0)
	};
	assert(within);
	assert(inturn);
	assert(awake);
	assert(owned)
}

proctype member(byte me) {
	atomic {
		joined == me;
		joined++;
		queue = queue | bit(me);
		weight[me] = 1;
		do
		:: weight[me] < HEAVY -> weight[me]++
		:: break
		od;
		if
		:: d_step { look(me, true) }
		:: faults > 0 -> faults--; waits = waits | bit(me); woken = woken | bit(me)
		fi;
		check()
	};
	do
	:: atomic {
		if
#ifdef BUG_LATE_VIEW /* the first look after a lost reply passes for that of the join */
		:: has(woken, me) && on[me] == NONE -> d_step { look(me, true) }
#endif
		:: has(woken, me) -> d_step { look(me, false) }
		:: has(waits & ~woken & ~dead, me) && faults > 0 -> faults--; woken = woken | bit(me)
		:: has(tostamp, me) -> d_step { stamp(me) }
		:: has(holds & ~dead, me) -> d_step { leave(me) }
		/* Too heavy for the limit: it is given up, sooner or later. */
		:: has(waits & ~dead, me) && weight[me] > limit -> d_step { leave(me) }
		:: has((waits | holds) & ~dead, me) && faults > 0 -> faults--; dead = dead | bit(me); woken = woken & ~bit(me)
		:: has(dead, me) -> d_step { dead = dead & ~bit(me); tostamp = tostamp & ~bit(me); leave(me) }
		fi;
		check() }
	:: atomic { !has(waits | holds | tostamp, me) -> stamped = stamped & ~bit(me); break }
	od
}

#ifdef RESIZE
proctype resizer(byte to) {
	byte mark, seen;
	bool raise; /* this step sets the flag, and no limit */
#ifdef BUG_FLAG_CLEARED
	bool raised;
#endif
	do
	:: break /* it crashes, or it finds that there is nothing to do */
	:: atomic { true -> d_step { /* a read */
		resizing++;
		seen = version;
		raise = (to < limit && !READY);
		mark = (mark > through -> mark : through);
		if
		:: RECKONS ->
			e = 0; sum = 0;
			do
			:: e < joined && has(queue, e) ->
				sum = sum + weight[e];
				if
				:: GRANTED(e) -> mark = (e < mark -> mark : e + 1)
				:: else -> break
				fi;
				e++
			:: e < joined && !has(queue, e) -> e++
			:: else -> break
			od;
			sum = 0
		:: else
		fi } };
	   atomic { /* a write */
		resizing--;
		if
		:: GUARD ->
			if
			:: flag && to >= limit -> flag = false
			:: true /* else it stays, even if the limit becomes larger */
			fi;
			d_step {
			version++; seen = 0;
			if
			:: raise ->
				flag = true; raise = false
#ifdef BUG_FLAG_CLEARED
				; raised = true
#endif
			:: else ->
				flag = flag && to >= limit;
				limit = to;
#ifndef BUG_NO_WATERMARK
				through = mark;
#endif
				mark = 0
			fi;
#ifndef BUG_LIMIT_UNSEEN
			wake(ANY)
#endif
			};
			check();
			if
			:: limit == to -> break
			:: else
			fi
		:: else -> d_step { mark = 0; seen = 0; raise = false }
		fi }
	od
}
#endif

init {
	byte i;
	atomic {
		for (i : 0 .. MEMBERS - 1) { on[i] = NONE; run member(i) };
		i = 0;
#ifdef RESIZE
		run resizer(RESIZE);
#endif
#ifdef THEN
		run resizer(THEN);
#endif
	}
}
