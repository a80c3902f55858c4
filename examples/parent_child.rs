//! A task joins its children: one returns a value, the other panics, and both come out of `join`.

use multitask::spawn;
use std::panic;

fn good_child() -> &'static str {
    "Hi, Mom!"
}

fn bad_child() -> ! {
    panic!("oops!")
}

fn parent() {
    let said = spawn(good_child)
        .join()
        .expect("the good child does not panic");
    println!("good child says: {said}");

    let error = spawn(|| bad_child()).join().unwrap_err();
    println!("caught exception: {}", error.message().unwrap_or("?"));
}

fn main() -> Result<(), multitask::Deadlock> {
    // The hook would report the panic, which this program expects, on standard error.
    panic::set_hook(Box::new(|_| {}));
    spawn(parent);
    multitask::run()
}
