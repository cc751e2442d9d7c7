//! The goals of the signals, on a seed that was not used to choose the rules.

use events_signals::evaluation::Evaluation;

#[test]
fn every_goal_is_met() {
    let evaluation = Evaluation::of(10_001, 50);
    let missed: Vec<_> = evaluation.goals().into_iter().filter(|goal| !goal.is_met()).collect();
    assert!(missed.is_empty(), "{missed:#?}\n{evaluation}");
}
