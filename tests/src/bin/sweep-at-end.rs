//! Waits for the end of its standard input, which is the end of the test that started it; then removes what tests left that are no
//! more.

fn main() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    knap_tests::sweep();
}
