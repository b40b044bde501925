package history

import "testing"

func aLock(r *Recorder) *History { return r.Lock("billing/nightly") }

func TestMutexHistories(t *testing.T) {
	run(t, aLock, []trial{
		{"OneAfterTheOther", true, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 40, Release(1)),
			op(2, 15, 50, Lock(), got(2)), op(2, 60, 70, Release(2)),
		}},
		{"GrantWhileReleaseIsUnderWay", true, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 60, Release(1)),
			op(2, 15, 40, Lock(), got(2)),
		}},
		{"TwoHolders", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 60, 70, Release(1)),
			op(2, 15, 50, Lock(), got(2)), op(2, 80, 90, Release(2)),
		}},
		{"TwoHoldersWhoNeverRelease", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(2, 15, 50, Lock(), got(2)),
		}},
		{"TokenGoesBack", false, []operation{
			op(1, 10, 20, Lock(), got(5)), op(1, 30, 40, Release(5)),
			op(2, 50, 60, Lock(), got(4)),
		}},
		{"TokenComesTwice", false, []operation{
			op(1, 10, 20, Lock(), got(5)), op(1, 30, 40, Release(5)),
			op(2, 50, 60, Lock(), got(5)),
		}},
		{"ReturnsInAnotherOrderThanGrants", true, []operation{
			op(1, 10, 90, Lock(), got(1)), open(1, 15, Lose(1)),
			op(2, 10, 20, Lock(), got(2)),
		}},
		{"FailedAttemptBesideHolder", true, []operation{
			op(1, 10, 20, Lock(), got(1)), op(2, 30, 40, Lock(), noop), op(1, 50, 60, Release(1)),
		}},
		{"ReleaseTwice", true, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 40, Release(1)), op(2, 41, 45, Lock(), got(2)),
			op(1, 50, 60, Release(1)), op(2, 70, 80, Release(2)),
		}},
		{"SecondReleaseLetsAThirdIn", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 40, Release(1)), op(2, 41, 45, Lock(), got(2)),
			op(1, 50, 60, Release(1)), op(3, 41, 65, Lock(), got(3)), op(2, 70, 80, Release(2)),
		}},
		{"ReleaseOfWhatWasNeverGranted", false, []operation{op(1, 10, 20, Release(1))}},
	})
}

func TestUnknownOutcomesOfAMutex(t *testing.T) {
	run(t, aLock, []trial{
		{"ReleaseThatArrived", true, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 30, Release(1)), op(2, 40, 50, Lock(), got(2)),
		}},
		{"ReleaseThatArrivedLate", true, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 30, Release(1)),
			op(3, 35, 40, Lock(), noop), op(2, 40, 90, Lock(), got(2)),
		}},
		{"ReleaseThatWasNotYetCalled", false, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 60, Release(1)), op(2, 40, 50, Lock(), got(2)),
		}},
		{"UnknownReleaseFreesOnce", false, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 30, Release(1)),
			op(2, 40, 50, Lock(), got(2)), op(3, 40, 60, Lock(), got(3)), op(2, 70, 80, Release(2)),
		}},
		{"AcquisitionThatFailedForAllOneKnows", true, []operation{
			open(1, 10, Lock()), op(2, 20, 30, Lock(), got(1)),
		}},
		{"AcquisitionThatTookAToken", true, []operation{
			open(1, 10, Lock()), op(2, 20, 30, Lock(), got(2)), op(2, 40, 50, Release(2)),
		}},
		{"KilledHolder", true, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 30, Lose(1)), op(2, 15, 50, Lock(), got(2)),
		}},
		{"HolderNotYetKilled", false, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 60, Lose(1)), op(2, 15, 50, Lock(), got(2)),
		}},
		{"HolderHearsOfLossBeforeTheNextGrant", true, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 31, Lose(1)), op(2, 15, 40, Lock(), got(2)),
		}},
		{"HolderHearsOfLossAfterTheNextGrant", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 50, 51, Lose(1)), op(2, 15, 40, Lock(), got(2)),
		}},
		{"LostBeforeTheAcquisitionReturned", true, []operation{
			op(1, 10, 60, Lock(), got(1)), op(1, 20, 61, Lose(1)), op(2, 15, 40, Lock(), got(2)),
			op(2, 70, 80, Release(2)),
		}},
		{"LossOfOneKeepsTheOther", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 31, Lose(1)), op(2, 15, 40, Lock(), got(2)),
			op(1, 50, 51, Lose(1)), op(3, 15, 60, Lock(), got(3)), op(2, 70, 80, Release(2)),
		}},
	})
}

func TestWritesToAGuardedRegister(t *testing.T) {
	held := []operation{ // 1 is lost at 30, 2 holds from 40
		op(1, 10, 20, Lock(), got(1)), open(1, 30, Lose(1)), op(2, 15, 40, Lock(), got(2)),
	}
	and := func(ops ...operation) []operation { return append(held[:len(held):len(held)], ops...) }
	run(t, aLock, []trial{
		{"HoldersWrites", true, and(op(1, 21, 22, Write(1)), op(1, 23, 24, Write(1)), op(2, 41, 42, Write(2)))},
		{"LateWriteBeforeTheSuccessors", true, and(op(1, 50, 51, Write(1)), op(2, 60, 61, Write(2)))},
		{"StaleWriteRefused", true, and(op(2, 41, 42, Write(2)), op(1, 50, 51, Write(1), stale))},
		{"StaleWriteAccepted", false, and(op(2, 41, 42, Write(2)), op(1, 50, 51, Write(1)))},
		{"HoldersWriteRefused", false, and(op(2, 41, 42, Write(2), stale))},
		{"ConcurrentWritesEitherWay", true, and(op(2, 41, 60, Write(2)), op(1, 42, 61, Write(1)))},
		{"WriteOfUnknownOutcomeThatArrived", true, and(open(2, 41, Write(2)), op(1, 50, 51, Write(1), stale))},
		{"WriteOfUnknownOutcomeThatDidNot", true, and(open(2, 41, Write(2)), op(1, 50, 51, Write(1)))},
		{"WriteOfUnknownOutcomeBothWays", false, and(open(2, 41, Write(2)),
			op(1, 50, 51, Write(1), stale), op(1, 52, 53, Write(1)))},
		{"GrantBelowTheRegister", false, and(op(3, 43, 44, Write(9)), op(2, 50, 51, Release(2)),
			op(4, 60, 70, Lock(), got(8)))},
	})
}

func TestElectionHistories(t *testing.T) {
	run(t, aLock, []trial{
		{"LeaderIsSeen", true, []operation{
			op(9, 1, 2, Leader(), nobody),
			op(1, 10, 20, Campaign("a"), got(1)), op(9, 21, 22, Leader(), sees("a", 1)),
			op(1, 30, 40, Proclaim(1, "b")), op(9, 41, 42, Leader(), sees("b", 1)),
			op(1, 50, 60, Release(1)), op(9, 61, 62, Leader(), nobody),
		}},
		{"TwoLeaders", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), op(2, 30, 40, Campaign("b"), got(2)), op(1, 50, 60, Release(1)),
		}},
		{"TwoLeadersSeenInTurn", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), open(1, 25, Lose(1)), op(2, 30, 40, Campaign("b"), got(2)),
			op(9, 41, 42, Leader(), sees("b", 2)), op(9, 43, 44, Leader(), sees("a", 1)),
		}},
		{"ResignedLeaderIsSeen", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), op(1, 30, 40, Release(1)), op(9, 41, 42, Leader(), sees("a", 1)),
		}},
		{"LeaderIsNotSeen", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), op(9, 21, 22, Leader(), nobody), op(1, 30, 40, Release(1)),
		}},
		{"ValueBeforeItIsProclaimed", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), op(9, 21, 22, Leader(), sees("b", 1)), op(1, 30, 40, Proclaim(1, "b")),
		}},
		{"ValueGoesBack", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), op(1, 30, 60, Proclaim(1, "b")),
			op(9, 31, 32, Leader(), sees("b", 1)), op(9, 33, 34, Leader(), sees("a", 1)),
		}},
		{"ValueWithAnothersToken", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), op(1, 21, 22, Release(1)), op(2, 30, 40, Campaign("b"), got(2)),
			op(9, 41, 42, Leader(), sees("b", 1)),
		}},
		{"ProclaimedByAPredecessor", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), open(1, 25, Lose(1)), op(2, 30, 40, Campaign("b"), got(2)),
			op(1, 50, 60, Proclaim(1, "c")),
		}},
	})
}

func TestUnknownOutcomesOfAnElection(t *testing.T) {
	run(t, aLock, []trial{
		{"ProclamationThatArrivedLate", true, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), open(1, 30, Proclaim(1, "b")),
			op(9, 40, 41, Leader(), sees("a", 1)), op(9, 50, 51, Leader(), sees("b", 1)),
		}},
		{"ProclamationTakenBack", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), open(1, 30, Proclaim(1, "b")),
			op(9, 40, 41, Leader(), sees("b", 1)), op(9, 50, 51, Leader(), sees("a", 1)),
		}},
		{"ProclamationOfALostLeader", true, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), open(1, 30, Proclaim(1, "b")), op(1, 32, 33, Lose(1)),
			op(9, 40, 41, Leader(), sees("b", 1)), op(2, 45, 50, Campaign("c"), got(2)),
		}},
		{"LostLeaderIsSeenForAWhile", true, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), op(1, 30, 31, Lose(1)),
			op(9, 40, 41, Leader(), sees("a", 1)), op(9, 50, 51, Leader(), nobody), op(2, 60, 70, Campaign("b"), got(2)),
		}},
		{"LostLeaderComesBack", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), op(1, 30, 31, Lose(1)),
			op(9, 40, 41, Leader(), nobody), op(9, 50, 51, Leader(), sees("a", 1)),
		}},
		{"UnknownResignation", true, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), open(1, 30, Release(1)),
			op(9, 40, 41, Leader(), sees("a", 1)), op(9, 50, 51, Leader(), nobody),
		}},
		{"LeaderWhoWasNeverTold", true, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), open(2, 11, Campaign("b")), op(1, 30, 40, Release(1)),
			op(9, 50, 51, Leader(), sees("b", 2)), op(9, 52, 53, Leader(), sees("b", 2)),
			op(3, 11, 60, Campaign("c"), got(3)), op(9, 61, 62, Leader(), sees("c", 3)),
		}},
		{"LeaderWhoWasNeverToldSeenBesideAHolder", false, []operation{
			op(1, 10, 20, Campaign("a"), got(1)), open(2, 11, Campaign("b")),
			op(9, 21, 22, Leader(), sees("b", 2)), op(1, 30, 40, Release(1)),
		}},
		{"LeaderWhoWasNeverToldHasTwoTokens", false, []operation{
			open(2, 11, Campaign("b")), op(9, 50, 51, Leader(), sees("b", 2)), op(9, 52, 53, Leader(), sees("b", 3)),
		}},
		{"LeaderWhoWasNeverToldHasAnOldToken", false, []operation{
			op(1, 10, 20, Campaign("a"), got(5)), open(2, 11, Campaign("b")), op(1, 30, 40, Release(5)),
			op(9, 50, 51, Leader(), sees("b", 4)),
		}},
		{"LeaderWhoNeverRan", false, []operation{op(9, 50, 51, Leader(), sees("b", 2))}},
	})
}

func TestRWMutexHistories(t *testing.T) {
	run(t, aLock, []trial{
		{"ReadersTogether", true, []operation{
			op(1, 10, 30, RLock(), got(1)), op(2, 10, 20, RLock(), got(2)),
			op(2, 40, 50, Release(2)), op(1, 45, 55, Release(1)), op(3, 15, 60, Lock(), got(3)),
		}},
		{"ReaderBesideWriter", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(2, 15, 30, RLock(), got(2)), op(1, 40, 50, Release(1)),
		}},
		{"WriterBesideReader", false, []operation{
			op(1, 10, 20, RLock(), got(1)), op(2, 15, 30, Lock(), got(2)), op(1, 40, 50, Release(1)),
		}},
		{"WriterBesideTheSecondReader", false, []operation{
			op(1, 10, 20, RLock(), got(1)), op(2, 10, 20, RLock(), got(2)), op(1, 22, 24, Release(1)),
			op(3, 15, 30, Lock(), got(3)), op(2, 40, 50, Release(2)),
		}},
		{"WriterWithATokenBelowAReaders", false, []operation{
			op(1, 10, 20, RLock(), got(5)), op(1, 30, 40, Release(5)), op(2, 50, 60, Lock(), got(4)),
		}},
		{"ReaderOvertakesWaitingWriter", false, []operation{
			op(1, 10, 20, RLock(), got(1)), op(2, 11, 60, Lock(), got(2)), op(3, 12, 30, RLock(), got(3)),
			op(1, 40, 42, Release(1)), op(3, 40, 42, Release(3)),
		}},
		{"LostReaderLetsAWriterIn", true, []operation{
			op(1, 10, 20, RLock(), got(1)), op(2, 10, 20, RLock(), got(2)),
			open(1, 25, Lose(1)), open(2, 25, Release(2)), op(3, 30, 40, Lock(), got(3)),
		}},
		{"DowngradeLetsReadersIn", true, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 40, Downgrade(1), got(1)), op(2, 15, 50, RLock(), got(2)),
			op(1, 60, 61, Release(1)), op(2, 62, 63, Release(2)), op(3, 15, 70, Lock(), got(3)),
		}},
		{"ReaderBeforeDowngrade", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(2, 15, 25, RLock(), got(2)), op(1, 30, 40, Downgrade(1), got(1)),
		}},
		{"DowngradedKeepsWritersOut", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 40, Downgrade(1), got(1)), op(2, 15, 50, Lock(), got(2)),
			op(1, 60, 70, Release(1)),
		}},
		{"DowngradeChangesTheToken", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(1, 30, 40, Downgrade(1), got(2)),
		}},
		{"DowngradeOfWhatWasTakenOver", false, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 22, Lose(1)), op(2, 25, 28, Lock(), got(2)),
			op(1, 30, 40, Downgrade(1), got(1)),
		}},
		{"UnknownDowngradeThatArrived", true, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 30, Downgrade(1)), op(2, 15, 50, RLock(), got(2)),
		}},
		{"UnknownDowngradeThatDidNot", true, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 30, Downgrade(1)), open(1, 35, Lose(1)),
			op(2, 15, 50, Lock(), got(2)),
		}},
		{"UnknownDowngradeDoesNotRelease", false, []operation{
			op(1, 10, 20, Lock(), got(1)), open(1, 30, Downgrade(1)), op(2, 15, 50, Lock(), got(2)),
		}},
		{"MutexAndElectionShareTheName", false, []operation{
			op(1, 10, 20, Lock(), got(1)), op(2, 15, 30, Campaign("b"), got(2)), op(1, 40, 50, Release(1)),
		}},
	})
}
