/*
 * The queue of a read-write mutex: readers and writers in order of joining, on a
 * store that keeps a queue of entries. scripts/check-models checks this file with
 * Spin, and with each BUG_* below.
 *
 * In Go, member() is Lock or RLock with all that follows until its entry is gone,
 * Downgrade included. look() is Exclusive or Shared of watch/rule.go, called on one
 * view by Turn; what it leaves in on[] is the obstacle that it returns, and woken
 * is the return of a wait for it.
 *
 *  - A writer waits until the nearest entry ahead leaves or changes, and looks
 *    again. It is its turn when nobody is ahead.
 *  - A reader does so with the nearest writer ahead. It is its turn when there is
 *    none.
 *  - A downgrade ends the writing, and then makes a reader's entry of a writer's, in
 *    place: its token stays. Who waits for the entry is woken, and looks.
 *
 * FAULTS bounds how often something goes wrong: a crash, after which the entry
 * stays for any time and goes with its lease, while a change on its way may still
 * arrive; a join whose reply is lost; a look that nothing asked for, as after a
 * reconnection. To the others, a wait that is cancelled is a crash whose lease ends
 * at once.
 *
 * Properties, in every state:
 *
 *  - alone: nobody holds beside one who writes.
 *  - inturn: nobody holds whom the rule would have wait. So a reader that came
 *    after a waiting writer waits for it.
 *  - awake: when all have looked and changed who were about to, nobody is asleep
 *    whose turn it is, whatever the holders do.
 *  - owned: an entry has an owner that will remove it, or a lease that ends.
 *  - No deadlock: no invalid end state, in Spin's words.
 *
 * Result: they hold in all configurations of scripts/check-models, which have up to
 * 0.1 million states, and each bug breaks the property named there.
 */

#ifndef MEMBERS
#define MEMBERS 4 /* each makes one acquisition, and all mixes of modes are tried */
#endif
#ifndef FAULTS
#define FAULTS  1
#endif

#define bit(i)       (1 << (i))
#define has(mask, i) (((mask) >> (i)) & 1)
#define NONE         255

/* The store. Tokens are the members' numbers: members differ in nothing, so that
   they join in this order loses no run. */
byte queue;           /* the entries that are there, */
byte writer;          /* and those that say writer */
byte joined;          /* the next token */

/* The members. Who waits or holds has an entry. */
byte waits, holds, dead;
byte on[MEMBERS];     /* what a waiter waits for; NONE: it has not looked yet */
byte woken;           /* what it waits for has happened, so it is about to look */
byte writes;          /* who believes that it may write */
byte tochange;        /* a downgrade has begun and not changed the entry yet */
byte faults = FAULTS;

bool alone, inturn, awake, owned;

hidden byte e, w, stop;

#define ahead(e)     (queue & (bit(e) - 1))
#define STOPS(e)     (ahead(e) & (has(writer, e) -> queue : writer)) /* whom e has to let go first */

#ifdef BUG_READER_PASSES          /* a reader ignores a writer that waits */
#define RULE         (has(writer, me) -> ahead(me) : ahead(me) & writer & holds)
#elif BUG_WRITER_SEES_WRITERS     /* a writer ignores the readers ahead */
#define RULE         (ahead(me) & writer)
#elif BUG_READER_TRUSTS           /* a reader waits for its predecessor, and takes its leaving for its turn */
#define RULE         (!has(writer, me) && GONE -> 0 : STOPS(me))
#elif BUG_WRITER_TRUSTS           /* so does a writer */
#define RULE         (has(writer, me) && GONE -> 0 : STOPS(me))
#else
#define RULE         STOPS(me)
#endif
#define GONE         (on[me] != NONE && !has(queue, on[me]))

#if defined(BUG_READER_TRUSTS) || defined(BUG_READER_SEES_READERS) /* a reader waits for readers, too */
#define NEAREST      (stop == 0 -> 0 : ahead(me))
#else
#define NEAREST      stop
#endif

/* x left or changed. */
inline wake(x) {
	w = 0;
	do
	:: w < MEMBERS ->
		woken = woken | (has(waits & ~dead, w) && on[w] == x -> bit(w) : 0);
		w++
	:: else -> break
	od
}

/* Takes a view and applies the rule. */
inline look(me) {
	woken = woken & ~bit(me);
	stop = RULE;
	on[me] = NONE;
	e = 0;
	do
	:: e < me -> on[me] = (has(NEAREST, e) -> e : on[me]); e++
	:: else -> break
	od;
	if
	:: stop == 0 ->
		waits = waits & ~bit(me);
		holds = holds | bit(me);
		writes = writes | (writer & bit(me))
	:: else ->
		waits = waits | bit(me)
	fi
}

inline leave(me) {
	wake(me);
	queue = queue & ~bit(me);
	writer = writer & ~bit(me);
	waits = waits & ~bit(me);
	holds = holds & ~bit(me);
	writes = writes & ~bit(me);
	woken = woken & ~bit(me);
	on[me] = NONE
}

/* The end of a downgrade. It is guarded: of an entry that left it makes none. */
inline change(me) {
	tochange = tochange & ~bit(me);
#ifdef BUG_RECREATE
	queue = queue | bit(me);
#endif
#ifndef BUG_SILENT_DOWNGRADE
	wake(me);
#endif
	writer = writer & ~bit(me)
}

#define QUIET (woken == 0 && (tochange & holds & ~dead) == 0)

/* Ends each step. */
inline check() {
	d_step {
		e = 0; inturn = true; awake = true;
		do
		:: e < MEMBERS ->
			inturn = inturn && !(has(holds, e) && STOPS(e) != 0);
			awake = awake && !(QUIET && has(waits & ~dead, e) && STOPS(e) == 0);
			e++
		:: else -> break
		od;
		alone = (writes == 0 || (holds == writes && (writes & (writes - 1)) == 0));
		owned = ((queue & ~(waits | holds)) == 0)
	};
	assert(alone);
	assert(inturn);
	assert(awake);
	assert(owned)
}

proctype member(byte me) {
	atomic {
		joined == me;
		joined++;
		queue = queue | bit(me);
		if
		:: writer = writer | bit(me)
		:: skip
		fi;
		if
		:: d_step { look(me) }
		:: faults > 0 -> faults--; waits = waits | bit(me); woken = woken | bit(me)
		fi;
		check()
	};
	do
	:: atomic {
		if
		:: has(woken, me) -> d_step { look(me) }
		:: has(waits & ~woken & ~dead, me) && faults > 0 -> faults--; woken = woken | bit(me)
		:: has(holds & writes & ~tochange & ~dead, me) -> tochange = tochange | bit(me);
#ifndef BUG_WRITES_ON /* the entry is changed while its owner still writes */
			writes = writes & ~bit(me)
#endif
		:: has(tochange, me) -> d_step { change(me) }
		:: has(holds & ~dead, me) -> d_step { leave(me) }
		:: has((waits | holds) & ~dead, me) && faults > 0 -> faults--; dead = dead | bit(me); woken = woken & ~bit(me)
		:: has(dead, me) -> d_step { dead = dead & ~bit(me); tochange = tochange & ~bit(me); leave(me) }
		fi;
		check() }
	:: atomic { !has(waits | holds | tochange, me) -> break }
	od
}

init {
	byte i;
	atomic {
		for (i : 0 .. MEMBERS - 1) { on[i] = NONE; run member(i) };
		i = 0
	}
}
