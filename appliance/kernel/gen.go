package kernel

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package kernel -target bpfel -type session -type event -type ref -type tuple -type address_key -type route -type service -type pool -type member -type configuration -type total -type count -type interface -type ending -type guard -type packet_rule -type sample -type vector_key -type vector_count -type shield_configuration -type gauge -type pressure -type source -type holder -type crowding bpf bpf/path.c -- -O2 -g -Wall -Wno-unused-function -mcpu=v3 -I/usr/include/x86_64-linux-gnu
