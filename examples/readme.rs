#![doc = include_str!("../README.md")]
#![doc = ""]
#![doc = "The code in the README, compiled by the documentation tests."]
