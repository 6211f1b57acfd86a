//! Makes the messages and the service of `proto/externalscaler.proto`, without `protoc`; says if the allocator was built
//! without its settings, which cargo looks for where it is run.

const ALLOCATOR: &str = "JEMALLOC_SYS_WITH_MALLOC_CONF";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed={ALLOCATOR}");
    if std::env::var_os(ALLOCATOR).is_none() {
        println!(
            "cargo::warning={ALLOCATOR} of .cargo/config.toml is not set: memory that is free is handed back late"
        );
    }
    println!("cargo::rerun-if-changed=proto/externalscaler.proto");
    let descriptors = protox::compile(["proto/externalscaler.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
