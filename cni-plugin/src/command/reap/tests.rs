use super::*;

#[test]
fn of_many_failures_the_first_are_told_and_how_many_more_there_are() {
    let mut failures: Vec<String> = (0..TOLD).map(|number| number.to_string()).collect();
    shorten(&mut failures);
    assert_eq!(failures.len(), TOLD);
    failures.extend(["a".to_owned(), "b".to_owned()]);
    shorten(&mut failures);
    assert_eq!((failures.len(), failures.last().unwrap().split(' ').next()), (TOLD + 1, Some("2")));
}
